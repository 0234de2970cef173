#include "app/command_line.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <sstream>
#include <type_traits>

#include "base/error.h"

namespace macadam {

Option& Option::required() {
  option_->required();
  return *this;
}

Option& Option::show_default() {
  option_->capture_default_str();
  return *this;
}

Option& Option::range(int64_t low, int64_t high) {
  option_->check(CLI::Range(low, high));
  return *this;
}

Option& Option::optional_value(const std::string& value) {
  option_->expected(0, 1)->default_str(value);
  return *this;
}

Option& Option::excludes(const Option& other) {
  option_->excludes(other.option_);
  return *this;
}

Option& Option::needs(const Option& other) {
  option_->needs(other.option_);
  return *this;
}

Option Command::option(const std::string& names, OptionTarget target, const std::string& help) {
  return std::visit(
      [&]<typename T>(T* value) {
        CLI::Option* option = app_->add_option(names, *value, help);
        if constexpr (std::is_same_v<T, uint64_t>) {
          option->check([](const std::string& text) {
            return text.starts_with('-') ? fmt::format("{} is negative", text) : std::string();
          });
        }
        return Option(option);
      },
      target);
}

Option Command::flag(const std::string& names, bool& target, const std::string& help) {
  return Option(app_->add_flag(names, target, help));
}

void Command::stands_alone(const Option& flag, std::initializer_list<std::string_view> but) {
  for (CLI::Option* option : app_->get_options()) {
    const bool allowed = option == flag.option_ || option->check_name("--help") ||
                         std::any_of(but.begin(), but.end(), [&](std::string_view name) {
                           return option->check_name(std::string(name));
                         });
    if (!allowed) flag.option_->excludes(option);
  }
}

bool Command::given(const std::string& name) const { return app_->count(name) > 0; }

void Command::refuse(std::initializer_list<const char*> names, std::string_view subject) const {
  for (const char* name : names) {
    if (!given(name)) continue;
    throw InputError(fmt::format("{} has no effect on {}", name, subject), app_->get_name(),
                     "leave it out");
  }
}

void Command::run(std::function<void()> action) { app_->callback(std::move(action)); }

CommandLine::CommandLine(const std::string& name, const std::string& description,
                         const std::string& version)
    : app_(std::make_unique<CLI::App>(description, name)) {
  app_->require_subcommand(1);
  app_->set_version_flag("--version", version);
}

CommandLine::~CommandLine() = default;

Command CommandLine::add(const std::string& name, const std::string& description) {
  return Command(app_->add_subcommand(name, description));
}

std::optional<std::string> CommandLine::run(int argc, const char* const* argv) {
  try {
    app_->parse(argc, argv);
    return std::nullopt;
  } catch (const CLI::Success& done) {
    std::ostringstream text;
    app_->exit(done, text, text);
    return text.str();
  } catch (const CLI::ParseError& error) {
    throw InputError(error.what(), "command line", "see `macadam --help`");
  }
}

std::pair<int, int> parse_size(std::string_view text, std::string_view option) {
  int width = 0, height = 0;
  const char* end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, width);
  if (first.ec == std::errc() && first.ptr != end && *first.ptr == 'x') {
    const auto second = std::from_chars(first.ptr + 1, end, height);
    if (second.ec == std::errc() && second.ptr == end && width > 0 && height > 0 &&
        width <= 65536 && height <= 65536) {
      return {width, height};
    }
  }
  throw InputError(fmt::format("'{}' is not a size", text), std::string(option),
                   "write WIDTHxHEIGHT, such as 512x256");
}

}  // namespace macadam
