#pragma once
// Runs the real binary as a user would.

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

namespace macadam {

struct ProgramResult {
  int exit_code = -1;  // 128 + n when signal n ended it
  std::string out, err;
};

/// A folder that is removed with the object.
class ScratchFolder {
 public:
  ScratchFolder();
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

/// The program under test.
std::string macadam_binary();

/// A started `macadam ARGUMENTS…` in `folder`, with the signals that a shell's child has.
class Program {
 public:
  Program(const std::filesystem::path& folder, const std::vector<std::string>& arguments);
  /// A command for sh, which calls the program by "$macadam".
  static Program shell(const std::filesystem::path& folder, const std::string& command);
  void send(int signal) const;
  pid_t pid() const { return pid_; }
  bool running();
  ProgramResult wait();

 private:
  struct Words : std::vector<std::string> {};  // a program and its arguments
  Program(const std::filesystem::path& folder, Words words);

  std::filesystem::path out_, err_;
  pid_t pid_ = -1;
  int status_ = 0;
  bool ended_ = false;
};

/// Starts it and waits.
ProgramResult macadam(const std::filesystem::path& folder,
                      const std::vector<std::string>& arguments);

/// Expects exit code 0.
void expect_success(const ProgramResult& result);
/// Expects the exit code and exactly one error line, which holds every word of `words`.
void expect_error(const ProgramResult& result, int exit_code,
                  const std::vector<std::string>& words);
/// The same for a mistake of the user: exit code 2.
void expect_input_error(const ProgramResult& result, const std::vector<std::string>& words);

/// A run of UNet-mini on the CPU that takes a second, on the data set "streets" beside the file;
/// `more` is added as it is.
std::string small_config(int epochs, const std::string& more = "");

void write_text(const std::filesystem::path& file, const std::string& text);
std::string read_text(const std::filesystem::path& file);
std::vector<std::string> lines_of(const std::string& text);

}  // namespace macadam
