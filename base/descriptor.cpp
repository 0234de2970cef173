#include "base/descriptor.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/to_size.h"

namespace macadam {

int Descriptor::close() {
  if (!valid()) return 0;
  return ::close(release()) == 0 ? 0 : errno;
}

int write_all(int descriptor, std::span<const std::byte> bytes) {
  constexpr size_t kMostAtOnce = size_t{1} << 30;  // Linux writes at most 2 GiB a call
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), std::min(bytes.size(), kMostAtOnce));
    if (written >= 0) {
      bytes = bytes.subspan(to_size(written));
    } else if (errno == EAGAIN) {  // whoever shares the pipe or terminal has made it so
      pollfd room{descriptor, POLLOUT, 0};
      ::poll(&room, 1, -1);
    } else if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

}  // namespace macadam
