// Connections of a server in this process: many at once, rude ones, and its end under load.

#include "server/http/http_server.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "base/to_size.h"
#include "tests/serve/client.h"

using namespace macadam;
using namespace std::chrono_literals;

namespace {

/// Answers with the body; "/later" from another thread, "/never" not at all, "/drop" by forgetting
/// the exchange, "/large" with more than sockets hold.
class Echo : public HttpHandler {
 public:
  ~Echo() override { join(); }
  Echo() = default;
  Echo(const Echo&) = delete;
  Echo& operator=(const Echo&) = delete;

  std::optional<HttpResponse> refuse(const HttpRequest& head) override {
    if (head.target == "/refused") return HttpResponse{503, "text/plain", "no", {}};
    return std::nullopt;
  }
  void handle(std::shared_ptr<Exchange> exchange) override {
    const std::string& target = exchange->request().target;
    if (target == "/drop") return;
    const std::lock_guard lock(mutex_);
    if (target == "/never") {
      held_.push_back(std::move(exchange));
    } else if (target == "/later") {
      threads_.emplace_back([exchange] {
        std::this_thread::sleep_for(5ms);
        exchange->respond({200, "text/plain", exchange->request().body, {}});
        exchange->respond({200, "text/plain", "twice", {}});
      });
    } else if (target == "/large") {
      exchange->respond({200, "text/plain", std::string(size_t{64} << 20, 'x'), {}});
    } else {
      exchange->respond({200, "text/plain", exchange->request().body, {}});
    }
  }
  HttpResponse answer_fault(const RequestFault& fault, const HttpRequest& head) override {
    if (fault.kind == RequestFault::Kind::dropped) ++dropped;
    return {fault.status, "text/plain", head.target, {}};
  }

  std::atomic<int> dropped = 0;

  void join() {
    const std::lock_guard lock(mutex_);
    threads_.clear();
  }
  void forget() {
    const std::lock_guard lock(mutex_);
    held_.clear();
  }
  size_t abandoned() {
    const std::lock_guard lock(mutex_);
    return to_size(
        std::ranges::count_if(held_, [](const auto& exchange) { return exchange->abandoned(); }));
  }

 private:
  std::mutex mutex_;
  std::vector<std::shared_ptr<Exchange>> held_;
  std::vector<std::jthread> threads_;
};

class HttpServerTest : public ::testing::Test {
 protected:
  HttpServerTest() : server_(options(), echo_), port_(server_.listen("127.0.0.1", 0)) {
    server_.start();
  }
  ~HttpServerTest() override {
    echo_.join();
    echo_.forget();
  }

  static HttpServerOptions options() {
    HttpServerOptions options;
    options.request_time = 500ms;
    options.idle_time = 2000ms;
    options.response_time = 500ms;
    return options;
  }
  int status(std::string_view target) {
    Client client(port_);
    client.send(request("POST", target, "body"));
    return client.receive().value_or(Reply{}).status;
  }
  static bool wait_for(const std::function<bool()>& what) {
    for (int i = 0; i < 1000; ++i) {
      if (what()) return true;
      std::this_thread::sleep_for(10ms);
    }
    return false;
  }

  Echo echo_;
  HttpServer server_;
  int port_;
};

TEST_F(HttpServerTest, ManyClientsGetTheirOwnAnswers) {
  std::vector<std::jthread> clients;
  std::atomic<int> right = 0;
  for (int c = 0; c < 8; ++c) {
    clients.emplace_back([&, c] {
      Client client(port_);
      for (int i = 0; i < 50; ++i) {
        const std::string body = std::to_string(c * 1000 + i);
        client.send(request("POST", i % 5 == 0 ? "/later" : "/", body));
        const auto reply = client.receive();
        if (reply && reply->body == body) ++right;
      }
    });
  }
  clients.clear();
  EXPECT_EQ(right, 400);
}

TEST_F(HttpServerTest, WhatNobodyAnswersIsAnswered500) {
  EXPECT_EQ(status("/drop"), 500);
  EXPECT_EQ(echo_.dropped, 1);
  EXPECT_EQ(status("/refused"), 503);
}

TEST_F(HttpServerTest, ALeavingClientIsNoticed) {
  for (int i = 0; i < 3; ++i) {
    Client client(port_);
    client.send(request("POST", "/never", "x"));
    std::this_thread::sleep_for(20ms);
    client.leave();
  }
  EXPECT_TRUE(wait_for([&] { return echo_.abandoned() == 3; }));
  echo_.forget();
  EXPECT_TRUE(wait_for([&] { return server_.connections() == 0; }));
}

TEST_F(HttpServerTest, AnswersThatNobodyTakesAreBounded) {
  HttpServerOptions few = options();
  few.response_time = 20'000ms;
  few.answer_budget = size_t{80} << 20;
  few.threads = 1;  // one request after the other
  HttpServer server(few, echo_);
  const int port = server.listen("127.0.0.1", 0);
  server.start();
  const auto ask = [&](std::string_view target) {
    Client client(port);
    client.send(request("POST", target, "body"));
    return client.receive().value_or(Reply{});
  };
  EXPECT_EQ(ask("/large").body.size(), size_t{64} << 20);
  {
    Client slow(port);
    slow.send(request("GET", "/large"));
    EXPECT_EQ(ask("/").body, "body");
    EXPECT_EQ(ask("/large").status, 503) << "another is waiting";
    for (int i = 0; i < 20; ++i) EXPECT_EQ(ask("/").body, "body") << "a small one has room";
    slow.leave();
  }
  EXPECT_TRUE(wait_for([&] { return ask("/large").status == 200; })) << "its room is free";
}

TEST_F(HttpServerTest, AClientThatDoesNotReadIsCutOff) {
  Client client(port_);
  client.send(request("GET", "/large"));
  EXPECT_TRUE(wait_for([&] { return server_.connections() == 1; }));
  EXPECT_TRUE(wait_for([&] { return server_.connections() == 0; }));
}

TEST_F(HttpServerTest, TheEndWaitsForAnswersAndForNothingElse) {
  Client idle(port_), busy(port_);
  busy.send(request("POST", "/later", "last"));
  EXPECT_TRUE(wait_for([&] { return server_.connections() == 2; }));
  server_.stop();
  EXPECT_TRUE(idle.closed_within(1500ms));
  EXPECT_EQ(busy.receive().value_or(Reply{}).body, "last");
  EXPECT_TRUE(busy.closed_within(5s));
  EXPECT_TRUE(server_.wait_until_idle(5s));
  EXPECT_THROW(Client{port_}, std::runtime_error);
}

TEST_F(HttpServerTest, TheEndUnderLoadCutsWhatIsLeft) {
  std::vector<std::jthread> clients;
  std::atomic<bool> going = true;
  for (int c = 0; c < 4; ++c) {
    clients.emplace_back([&] {
      while (going) {
        try {
          Client client(port_);
          client.send(request("POST", "/later", "x"));
          client.receive(100ms);
        } catch (const std::runtime_error&) {
          return;
        }
      }
    });
  }
  std::this_thread::sleep_for(100ms);
  server_.stop();
  server_.wait_until_idle(100ms);
  going = false;
}

}  // namespace
