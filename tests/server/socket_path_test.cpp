// Unix sockets of servers that follow one another, and of other programs.

#include "server/http/socket_path.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <mutex>
#include <thread>
#include <vector>

#include "base/descriptor.h"
#include "base/error.h"
#include "server/http/http_server.h"
#include "tests/base/temporary_folder.h"
#include "tests/serve/client.h"

using namespace macadam;
using namespace std::chrono_literals;

namespace {

namespace fs = std::filesystem;

/// Answers with its name; "/never" not until it is told to.
class Named : public HttpHandler {
 public:
  explicit Named(std::string name) : name_(std::move(name)) {}
  std::optional<HttpResponse> refuse(const HttpRequest&) override { return std::nullopt; }
  void handle(std::shared_ptr<Exchange> exchange) override {
    const std::lock_guard lock(mutex_);
    if (exchange->request().target == "/never") return held_.push_back(std::move(exchange));
    exchange->respond({200, "text/plain", name_, {}});
  }
  HttpResponse answer_fault(const RequestFault& fault, const HttpRequest&) override {
    return {fault.status, "text/plain", fault.reason, {}};
  }
  size_t held() {
    const std::lock_guard lock(mutex_);
    return held_.size();
  }
  void answer() {
    const std::lock_guard lock(mutex_);
    for (const auto& exchange : held_) exchange->respond({200, "text/plain", name_, {}});
    held_.clear();
  }

 private:
  const std::string name_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<Exchange>> held_;
};

std::string ask(const fs::path& socket) {
  Client client(socket);
  client.send(request("GET", "/"));
  return client.receive(5s).value_or(Reply{}).body;
}

/// A socket of another program.
Descriptor bound(const fs::path& path, int type) {
  Descriptor socket(::socket(AF_UNIX, type | SOCK_NONBLOCK, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::ranges::copy(path.string(), address.sun_path);
  EXPECT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  return socket;
}

/// Tries again for as long as somebody listens.
bool listen_in_time(HttpServer& server, const fs::path& path) {
  for (int i = 0; i < 500; ++i) {
    try {
      server.listen(path);
      return true;
    } catch (const InputError&) {
      std::this_thread::sleep_for(10ms);
    }
  }
  return false;
}

TEST(SocketPath, AnEndingServerLeavesItsSuccessorsAlone) {
  const macadam::testing::TemporaryFolder folder;
  const fs::path path = folder.path() / "s.sock";
  Named old_handler("old"), new_handler("new");
  auto ending = std::make_unique<HttpServer>(HttpServerOptions{}, old_handler);
  ending->listen(path);
  ending->start();
  Client busy(path);
  busy.send(request("GET", "/never"));
  while (old_handler.held() == 0) std::this_thread::sleep_for(1ms);
  ending->stop();  // and drains
  HttpServer successor({}, new_handler);
  ASSERT_TRUE(listen_in_time(successor, path));
  successor.start();
  old_handler.answer();
  EXPECT_EQ(busy.receive(5s).value_or(Reply{}).body, "old");
  ending.reset();
  ASSERT_TRUE(fs::exists(path)) << "it is the successor's";
  EXPECT_EQ(ask(path), "new");
}

TEST(SocketPath, GoesWithItsServer) {
  const macadam::testing::TemporaryFolder folder;
  const fs::path path = folder.path() / "s.sock";
  Named handler("a");
  {
    HttpServer never_started({}, handler);
    never_started.listen(path);
    EXPECT_TRUE(fs::exists(path));
  }
  EXPECT_FALSE(fs::exists(path));
}

TEST(SocketPath, WhatAKilledServerLeftIsRemoved) {
  const macadam::testing::TemporaryFolder folder;
  const fs::path path = folder.path() / "s.sock";
  bound(path, SOCK_STREAM).close();
  ASSERT_TRUE(fs::exists(path));
  clear_socket_path(path);
  EXPECT_FALSE(fs::exists(path));
  clear_socket_path(path);  // nothing is there
}

TEST(SocketPath, OtherProgramsSocketsAreLeftAlone) {
  const macadam::testing::TemporaryFolder folder;
  const fs::path datagrams = folder.path() / "log.sock", full = folder.path() / "full.sock";
  const Descriptor log = bound(datagrams, SOCK_DGRAM);
  EXPECT_THROW(clear_socket_path(datagrams), InputError);
  EXPECT_TRUE(fs::exists(datagrams));

  // Somebody listens there, and has no room for more.
  const Descriptor busy = bound(full, SOCK_STREAM);
  ASSERT_EQ(::listen(busy.get(), 0), 0);
  Client waiting(full);
  EXPECT_THROW(clear_socket_path(full), InputError);
  EXPECT_TRUE(fs::exists(full));
  EXPECT_THROW(clear_socket_path(folder.path() / std::string(120, 'x')), InputError);
}

}  // namespace
