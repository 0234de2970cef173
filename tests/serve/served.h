#pragma once
// The real program as a server.

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "tests/app/program.h"
#include "tests/serve/client.h"

namespace macadam {

/// A model file of random weights, of 8 classes, for images of 32x64 (height x width).
void write_random_model(const std::filesystem::path& file, uint64_t seed = 1);

/// A PNG and a JPEG of pseudo-random patches.
std::string png_photo(int height, int width, uint32_t seed = 1);
std::string jpeg_photo(int height, int width, uint32_t seed = 1);
/// A PNG of one color: small, whatever its size.
std::string flat_png(int height, int width);

class Served {
 public:
  /// Starts `macadam serve ARGUMENTS` in `folder` at a free port; waits until it is ready, unless
  /// `wait` is false: then until it listens.
  Served(const std::filesystem::path& folder, std::vector<std::string> arguments, bool wait = true,
         const std::string& log = "serve.log");
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
  /// Resident memory in bytes; 0 under AddressSanitizer, which keeps what is freed.
  size_t memory() const;
  /// SIGTERM; the exit code.
  int end();

 private:
  std::filesystem::path log_;
  Program program_;
  int port_ = 0;
  bool ended_ = false;
};

}  // namespace macadam
