#include "program.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "tests/paths.h"

namespace macadam {

ScratchFolder::ScratchFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "macadam_XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no scratch folder");
  path_ = pattern;
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string macadam_binary() { return build_path("macadam"); }

Program::Program(const std::filesystem::path& folder, const std::vector<std::string>& arguments)
    : Program(folder, [&] {
        Words words{{macadam_binary()}};
        words.insert(words.end(), arguments.begin(), arguments.end());
        return words;
      }()) {}

Program Program::shell(const std::filesystem::path& folder, const std::string& command) {
  return {folder, Words{{"/bin/sh", "-c", command}}};
}

Program::Program(const std::filesystem::path& folder, Words words) {
  static int runs = 0;  // numbers the output files
  const std::string number = std::to_string(runs++);
  out_ = folder / ("out" + number + ".txt");
  err_ = folder / ("err" + number + ".txt");
  const std::string binary = macadam_binary();
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  pid_ = fork();
  if (pid_ < 0) throw std::runtime_error("fork failed");
  if (pid_ == 0) {
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) std::signal(signal, SIG_DFL);
    setenv("macadam", binary.c_str(), 1);
    const int out = open(out_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    const int err = open(err_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    if (chdir(folder.c_str()) != 0) _exit(126);
    execv(argv[0], argv.data());
    _exit(127);
  }
}

void Program::send(int signal) const { kill(pid_, signal); }

bool Program::running() {
  if (!ended_) ended_ = waitpid(pid_, &status_, WNOHANG) == pid_;
  return !ended_;
}

ProgramResult Program::wait() {
  if (!ended_) ended_ = waitpid(pid_, &status_, 0) == pid_;
  ProgramResult result;
  result.exit_code = WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
  result.out = read_text(out_);
  result.err = read_text(err_);
  return result;
}

ProgramResult macadam(const std::filesystem::path& folder,
                      const std::vector<std::string>& arguments) {
  return Program(folder, arguments).wait();
}

void expect_success(const ProgramResult& result) { EXPECT_EQ(result.exit_code, 0) << result.err; }

void expect_error(const ProgramResult& result, int exit_code,
                  const std::vector<std::string>& words) {
  EXPECT_EQ(result.exit_code, exit_code) << result.err;
  std::vector<std::string> errors;
  for (const std::string& line : lines_of(result.err)) {
    if (line.starts_with("macadam: error: ")) errors.push_back(line);
  }
  ASSERT_EQ(errors.size(), 1u) << result.err;
  for (const std::string& word : words) {
    EXPECT_NE(errors[0].find(word), std::string::npos) << word << " not in: " << errors[0];
  }
}

void expect_input_error(const ProgramResult& result, const std::vector<std::string>& words) {
  expect_error(result, 2, words);
}

std::string small_config(int epochs, const std::string& more) {
  return R"(network = "unet_mini"
dataset = "streets"
size = [32, 64]
batch = 2
precision = "fp32"
device = "cpu"
epochs = )" +
         std::to_string(epochs) + "\n" + more;
}

void write_text(const std::filesystem::path& file, const std::string& text) {
  std::filesystem::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << text;
}

std::string read_text(const std::filesystem::path& file) {
  std::ostringstream text;
  text << std::ifstream(file, std::ios::binary).rdbuf();
  return text.str();
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

}  // namespace macadam
