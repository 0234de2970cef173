#pragma once
// HTTP clients that may be as rude as they like.

#include <chrono>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace macadam {

struct Reply {
  int status = 0;
  std::map<std::string, std::string> fields;  // names in lower case
  std::string body;

  std::string field(const std::string& name) const {
    const auto found = fields.find(name);
    return found == fields.end() ? "" : found->second;
  }
};

/// A connection.
class Client {
 public:
  explicit Client(int port);
  explicit Client(const std::filesystem::path& socket);
  ~Client();
  Client(Client&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), held_(std::move(other.held_)) {}
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// As much as the server takes; false when it has closed the connection.
  bool send(std::string_view bytes);
  /// The next answer, which has no body if HEAD was asked; nothing when the connection ends, or in
  /// vain for so long.
  std::optional<Reply> receive(std::chrono::milliseconds time = std::chrono::seconds(60),
                               bool has_body = true);
  /// Whether the server closes the connection in that time.
  bool closed_within(std::chrono::milliseconds time);
  /// Leaves without a word.
  void leave();

 private:
  /// Reads more; false at the end.
  bool more(std::chrono::steady_clock::time_point until);

  int fd_ = -1;
  std::string held_;
};

/// A request with its fields and a Content-Length.
std::string request(std::string_view method, std::string_view target, std::string_view body = {},
                    const std::vector<std::string>& fields = {});

}  // namespace macadam
