#pragma once
// How code that answers requests says that it cannot.

#include <exception>
#include <string>
#include <utility>

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

/// Thrown when there is no memory for a call now: 503.
class NoMemoryError : public HttpError {
 public:
  explicit NoMemoryError(std::string text) : HttpError(503, std::move(text)) {}
};

}  // namespace macadam
