#include "app/streams.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <span>
#include <string>

#include "base/descriptor.h"
#include "base/to_size.h"

namespace macadam {

void open_missing_streams() {
  for (int stream = 0; stream < 3; ++stream) {
    // The lowest number that is free is the one missing.
    if (fcntl(stream, F_GETFD) < 0 && errno == EBADF) (void)open("/", O_PATH);
  }
}

int write_text(int stream, std::string_view text) {
  return write_all(stream, std::as_bytes(std::span(text)));
}

int flush_stream(int stream) {
  const int copy = ::dup(stream);
  return copy < 0 || ::close(copy) != 0 ? errno : 0;
}

bool is_terminal(int stream) {
  const char* kind = std::getenv("TERM");
  return isatty(stream) != 0 && kind != nullptr && std::string_view(kind) != "dumb";
}

size_t terminal_columns(int stream) {
  winsize size{};
  if (ioctl(stream, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  const char* columns = std::getenv("COLUMNS");
  const long given = columns == nullptr ? 0 : std::strtol(columns, nullptr, 10);
  return given > 0 ? to_size(given) : 80;
}

}  // namespace macadam
