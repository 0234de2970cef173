#pragma once
// The command line: subcommands, their options, and what they run. command_line.cpp alone includes
// CLI11, which takes the compiler nine seconds wherever it is seen.

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace macadam {

/// Where an option's value goes. What it points to outlives the CommandLine.
using OptionTarget = std::variant<std::string*, std::vector<std::string>*, int*, int64_t*,
                                  uint64_t*, std::optional<int>*, std::optional<std::string>*>;

/// An option of a command, narrowed by calls one after the other.
class Option {
 public:
  explicit Option(CLI::Option* option) : option_(option) {}

  Option& required();
  /// Help shows the target's present value.
  Option& show_default();
  /// Values in [low, high].
  Option& range(int64_t low, int64_t high);
  /// May be given without a value, and then means `value`.
  Option& optional_value(const std::string& value);
  /// It cannot stand beside `other`.
  Option& excludes(const Option& other);
  /// It makes no sense without `other`.
  Option& needs(const Option& other);

 private:
  friend class Command;
  CLI::Option* option_;
};

/// A subcommand.
class Command {
 public:
  explicit Command(CLI::App* app) : app_(app) {}

  /// "--name" or "-n,--name"; without dashes: by its position. Unsigned values are not negative.
  Option option(const std::string& names, OptionTarget target, const std::string& help);
  Option flag(const std::string& names, bool& target, const std::string& help);
  /// `flag` cannot stand beside any option declared so far, but those named.
  void stands_alone(const Option& flag, std::initializer_list<std::string_view> but);

  /// Whether the user wrote the option.
  bool given(const std::string& name) const;
  /// Throws InputError for the first of the options `names` that was given: on `subject` it would
  /// change nothing, and better an error than an option without effect.
  void refuse(std::initializer_list<const char*> names, std::string_view subject) const;

  /// What the command does. It leaves by an exception when something is wrong.
  void run(std::function<void()> action);

 private:
  CLI::App* app_;
};

class CommandLine {
 public:
  CommandLine(const std::string& name, const std::string& description, const std::string& version);
  ~CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  Command add(const std::string& name, const std::string& description);

  /// Runs the command that the arguments name. What is to be shown instead (help, the version) is
  /// returned, and otherwise nothing. Throws InputError when they are wrong, and what the command
  /// throws.
  std::optional<std::string> run(int argc, const char* const* argv);

 private:
  std::unique_ptr<CLI::App> app_;
};

/// "512x256" as {width, height}; throws InputError naming `option`.
std::pair<int, int> parse_size(std::string_view text, std::string_view option);

}  // namespace macadam
