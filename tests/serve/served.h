#pragma once
// The real program as a server, and clients that may be as rude as they like.

#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/app/program.h"

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

/// A model file of random weights, of 8 classes, for images of 32x64 (height x width).
void write_random_model(const std::filesystem::path& file, uint64_t seed = 1);

/// A PNG and a JPEG of pseudo-random patches.
std::string png_photo(int height, int width, uint32_t seed = 1);
std::string jpeg_photo(int height, int width, uint32_t seed = 1);

class Served {
 public:
  /// Starts `macadam serve ARGUMENTS` in `folder` at a free port; waits until it is ready, unless
  /// `wait` is false: then until it listens.
  Served(const std::filesystem::path& folder, std::vector<std::string> arguments, bool wait = true);
  ~Served();

  int port() const { return port_; }
  Program& program() { return program_; }
  /// One request on a connection of its own.
  Reply ask(std::string_view method, std::string_view target, std::string_view body = {},
            const std::vector<std::string>& fields = {}) const;
  Reply get(std::string_view target) const { return ask("GET", target); }
  /// Sends bytes as they are and gives the status of the answer; 0 when there is none.
  int send_raw(std::string_view bytes) const;
  std::string log() const;
  /// Resident memory in bytes.
  size_t memory() const;
  /// SIGTERM; the exit code.
  int end();

 private:
  std::filesystem::path folder_;
  Program program_;
  int port_ = 0;
  bool ended_ = false;
};

}  // namespace macadam
