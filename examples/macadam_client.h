#pragma once
// A client of `macadam serve` in one header, for programs that have no HTTP library: C++17 and
// POSIX sockets. A photo's bytes go in, a mask comes out.

#include <netdb.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>

namespace macadam_client {

struct Answer {
  int status = 0;
  std::string body;
};

/// A connection that is closed with the object.
class Connection {
 public:
  /// `address`: "HOST:PORT", or the path of a Unix socket, which begins with '/' or '.'. Throws
  /// std::runtime_error when nobody listens there.
  explicit Connection(const std::string& address) {
    if (address.find_first_of("/.") == 0) {
      sockaddr_un path{};
      path.sun_family = AF_UNIX;
      if (address.size() >= sizeof(path.sun_path)) throw std::runtime_error("the path is too long");
      std::memcpy(path.sun_path, address.data(), address.size());
      socket_ = ::socket(AF_UNIX, SOCK_STREAM, 0);
      try_to(::connect(socket_, reinterpret_cast<const sockaddr*>(&path), sizeof(path)) == 0);
      return;
    }
    const size_t colon = address.rfind(':');
    addrinfo hints{}, *found = nullptr;
    hints.ai_socktype = SOCK_STREAM;
    const std::string port = colon == std::string::npos ? "8080" : address.substr(colon + 1);
    if (::getaddrinfo(address.substr(0, colon).c_str(), port.c_str(), &hints, &found) != 0) {
      throw std::runtime_error("there is no such host: " + address);
    }
    socket_ = ::socket(found->ai_family, SOCK_STREAM, 0);
    const bool connected =
        socket_ >= 0 && ::connect(socket_, found->ai_addr, found->ai_addrlen) == 0;
    ::freeaddrinfo(found);
    try_to(connected);
  }
  ~Connection() {
    if (socket_ >= 0) ::close(socket_);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// The mask of a PNG or JPEG; `query` as of /v1/segment: "format=raw". A status other than 200
  /// comes with a text that says why. Throws std::runtime_error when the connection breaks.
  Answer segment(const std::string& photo, const std::string& query = "") {
    send("POST /v1/segment?" + query + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: " +
         std::to_string(photo.size()) + "\r\n\r\n" + photo);
    size_t head = std::string::npos;
    while ((head = held_.find("\r\n\r\n")) == std::string::npos) receive();
    Answer answer;
    answer.status = std::stoi(held_.substr(held_.find(' ')));
    // The server's answers always say their length.
    const size_t field = held_.find("Content-Length: ");
    if (field == std::string::npos || field > head) throw std::runtime_error("not an answer");
    const size_t bytes = std::stoul(held_.substr(field + std::strlen("Content-Length: ")));
    held_.erase(0, head + 4);
    while (held_.size() < bytes) receive();
    answer.body = held_.substr(0, bytes);
    held_.erase(0, bytes);
    return answer;
  }

 private:
  void try_to(bool done) {
    if (done) return;
    const std::string why = std::strerror(errno);
    if (socket_ >= 0) ::close(socket_);
    socket_ = -1;
    throw std::runtime_error("cannot connect: " + why);
  }
  void send(const std::string& text) {
    for (size_t sent = 0; sent < text.size();) {
      const ssize_t now = ::send(socket_, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
      if (now <= 0) throw std::runtime_error("the connection broke");
      sent += static_cast<size_t>(now);
    }
  }
  void receive() {
    char piece[65536];
    const ssize_t now = ::recv(socket_, piece, sizeof(piece), 0);
    if (now <= 0) throw std::runtime_error("the connection broke");
    held_.append(piece, static_cast<size_t>(now));
  }

  int socket_ = -1;
  std::string held_;
};

}  // namespace macadam_client
