#pragma once
// How code that answers requests says that it cannot.

#include <exception>
#include <string>

namespace macadam {

/// Thrown by whoever answers a call: the answer is this status with {"error": text}. The text is
/// for the client: no path, no address, no name of this program's inside.
class HttpError : public std::exception {
 public:
  HttpError(int status, std::string text) : status_(status), text_(std::move(text)) {}
  int status() const { return status_; }
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  int status_;
  std::string text_;
};

}  // namespace macadam
