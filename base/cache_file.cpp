#include "base/cache_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <span>
#include <string>
#include <system_error>

#include "base/descriptor.h"

namespace macadam {

namespace fs = std::filesystem;

namespace {

/// An environment variable; none where it is not set.
std::optional<std::string> variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? std::optional<std::string>(value) : std::nullopt;
}

}  // namespace

fs::path cache_folder() {
  if (const auto folder = variable("MACADAM_CACHE")) return *folder;
  // The XDG base directory specification: a relative path is to be ignored.
  const fs::path caches = variable("XDG_CACHE_HOME").value_or("");
  if (caches.is_absolute()) return caches / "macadam";
  const fs::path home = variable("HOME").value_or("");
  return home.is_absolute() ? home / ".cache/macadam" : fs::path();
}

std::optional<struct stat> replace_cache_file(const fs::path& file, std::string_view text) {
  std::error_code ignored;
  fs::create_directories(file.parent_path(), ignored);
  std::string temporary = file.string() + ".XXXXXX";
  Descriptor descriptor(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!descriptor.valid()) return std::nullopt;
  struct stat status {};
  const bool written = write_all(descriptor.get(), std::as_bytes(std::span(text))) == 0 &&
                       ::fstat(descriptor.get(), &status) == 0;
  const bool closed = descriptor.close() == 0;
  if (!written || !closed || ::rename(temporary.c_str(), file.c_str()) != 0) {
    ::unlink(temporary.c_str());
    return std::nullopt;
  }
  return status;
}

}  // namespace macadam
