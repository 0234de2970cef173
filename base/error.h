#pragma once
// The one exception type. Every message has three parts and prints as one line:
//   WHAT: WHERE: what to do

#include <stdexcept>
#include <string>
#include <string_view>

namespace macadam {

/// Decides the exit code of the command line: `input` is 2, `failure` is 1.
enum class ErrorKind { input, failure };

class Error : public std::runtime_error {
 public:
  /// `what` happened, `where` (file, key, tensor; may be empty), and the `remedy` (may be empty).
  /// They may hold text from outside: the message is printable(), one line whatever they are.
  Error(ErrorKind kind, std::string_view what, std::string_view where, std::string_view remedy);

  ErrorKind kind() const noexcept { return kind_; }

 private:
  ErrorKind kind_;
};

/// The user's input (file, option, value) is wrong: exit code 2.
class InputError : public Error {
 public:
  InputError(std::string_view what, std::string_view where, std::string_view remedy)
      : Error(ErrorKind::input, what, where, remedy) {}
};

/// Something failed while running (device, disk, memory): exit code 1.
class RunError : public Error {
 public:
  RunError(std::string_view what, std::string_view where, std::string_view remedy)
      : Error(ErrorKind::failure, what, where, remedy) {}
};

/// Throws std::logic_error naming `condition` when a caller broke a `requires` clause.
/// For programming errors only; user input is answered by InputError.
inline void require(bool holds, const char* condition) {
  if (!holds) throw std::logic_error(std::string("requirement violated: ") + condition);
}

}  // namespace macadam
