#include "tests/serve/client.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <sstream>
#include <stdexcept>

#include "base/to_size.h"

namespace macadam {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

milliseconds left_until(steady_clock::time_point until) {
  return std::max(milliseconds(0),
                  std::chrono::duration_cast<milliseconds>(until - steady_clock::now()));
}

void connect_to(int fd, const sockaddr* address, socklen_t size) {
  if (fd < 0 || ::connect(fd, address, size) != 0) throw std::runtime_error("cannot connect");
}

}  // namespace

Client::Client(int port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  connect_to(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
}

Client::Client(const std::filesystem::path& socket)
    : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  socket.string().copy(address.sun_path, sizeof(address.sun_path) - 1);
  connect_to(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
}

Client::~Client() { leave(); }

void Client::leave() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

bool Client::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(to_size(sent));
  }
  return true;
}

bool Client::more(steady_clock::time_point until) {
  pollfd waiting{fd_, POLLIN, 0};
  if (::poll(&waiting, 1, static_cast<int>(left_until(until).count())) != 1) return false;
  std::string piece(1 << 16, '\0');
  const ssize_t count = ::recv(fd_, piece.data(), piece.size(), 0);
  if (count <= 0) return false;
  held_.append(piece, 0, to_size(count));
  return true;
}

std::optional<Reply> Client::receive(milliseconds time, bool has_body) {
  const auto until = steady_clock::now() + time;
  for (;;) {
    size_t head = std::string::npos;
    while ((head = held_.find("\r\n\r\n")) == std::string::npos) {
      if (!more(until)) return std::nullopt;
    }
    Reply reply;
    std::istringstream lines(held_.substr(0, head));
    std::string line;
    std::getline(lines, line);
    reply.status = std::stoi(line.substr(line.find(' ') + 1, 3));
    while (std::getline(lines, line)) {
      std::string name = line.substr(0, line.find(':'));
      std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
      if (line.ends_with('\r')) line.pop_back();
      reply.fields[name] = line.substr(std::min(line.size(), name.size() + 2));
    }
    held_.erase(0, head + 4);
    if (reply.status == 100) continue;
    const std::string length = reply.field("content-length");
    const size_t bytes = length.empty() || !has_body ? 0 : std::stoul(length);
    while (held_.size() < bytes) {
      if (!more(until)) return std::nullopt;
    }
    reply.body = held_.substr(0, bytes);
    held_.erase(0, bytes);
    return reply;
  }
}

bool Client::closed_within(milliseconds time) {
  const auto until = steady_clock::now() + time;
  while (more(until)) {
  }
  return steady_clock::now() < until;
}

std::string request(std::string_view method, std::string_view target, std::string_view body,
                    const std::vector<std::string>& fields) {
  std::string text = fmt::format("{} {} HTTP/1.1\r\nHost: localhost\r\n", method, target);
  for (const std::string& field : fields) text += field + "\r\n";
  if (!body.empty() || method == "POST") text += fmt::format("Content-Length: {}\r\n", body.size());
  return text + "\r\n" + std::string(body);
}

}  // namespace macadam
