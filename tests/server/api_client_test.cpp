// The viewer's way to the API: many requests at once, and an API that is slow, gone or none.

#include "server/view/api_client.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <future>
#include <mutex>
#include <thread>
#include <vector>

#include "base/descriptor.h"
#include "base/error.h"
#include "base/to_size.h"
#include "server/http/http_server.h"
#include "tests/base/temporary_folder.h"

using namespace macadam;
using namespace std::chrono_literals;

namespace {

/// An API that says what it was asked; "/never" it does not answer.
class Mirror : public HttpHandler {
 public:
  std::optional<HttpResponse> refuse(const HttpRequest&) override { return std::nullopt; }
  void handle(std::shared_ptr<Exchange> exchange) override {
    const HttpRequest& request = exchange->request();
    if (request.target == "/never") {
      const std::lock_guard lock(mutex_);
      held_.push_back(std::move(exchange));
      return;
    }
    std::string seen = request.method + " " + request.target + "\n";
    for (const auto& [name, value] : request.fields) seen += name + ": " + value + "\n";
    HttpResponse response{
        request.target == "/busy" ? 503 : 200, "text/plain", seen + request.body, {}};
    response.fields.emplace_back("Retry-After", "7");
    if (request.target == "/large") response.body.assign(100'000, 'x');
    if (request.target == "/elsewhere") {
      response.status = 302;
      response.fields.emplace_back("Location", "/never");
    }
    exchange->respond(std::move(response));
  }
  HttpResponse answer_fault(const RequestFault& fault, const HttpRequest&) override {
    return {fault.status, "text/plain", fault.reason, {}};
  }
  size_t abandoned() {
    const std::lock_guard lock(mutex_);
    return to_size(
        std::ranges::count_if(held_, [](const auto& exchange) { return exchange->abandoned(); }));
  }
  size_t held() {
    const std::lock_guard lock(mutex_);
    return held_.size();
  }
  void forget() {
    const std::lock_guard lock(mutex_);
    held_.clear();
  }

 private:
  std::mutex mutex_;
  std::vector<std::shared_ptr<Exchange>> held_;
};

class ApiClientTest : public ::testing::Test {
 protected:
  ApiClientTest() : server_({}, mirror_), port_(server_.listen("127.0.0.1", 0)) {
    if (has_http_client()) server_.start();
  }
  ~ApiClientTest() override { mirror_.forget(); }
  void SetUp() override {
    if (!has_http_client()) GTEST_SKIP() << "this build has no curl";
  }

  HttpClientOptions options() const {
    HttpClientOptions options;
    options.address = "http://127.0.0.1:" + std::to_string(port_);
    return options;
  }
  static HttpResponse ask(ApiClient& client, HttpQuestion request) {
    std::promise<HttpResponse> answer;
    client.ask(std::move(request),
               [&](HttpResponse response) { answer.set_value(std::move(response)); });
    return answer.get_future().get();
  }

  Mirror mirror_;
  HttpServer server_;
  int port_;
};

TEST_F(ApiClientTest, AnswersComeAsTheyAre) {
  ApiClient client(options());
  const HttpResponse got =
      ask(client, {"GET", "/v1/x?y=%20z", {{"If-None-Match", "\"t\""}}, "", {}});
  EXPECT_EQ(got.status, 200);
  EXPECT_EQ(got.content_type, "text/plain");
  EXPECT_TRUE(got.body.starts_with("GET /v1/x?y=%20z\n")) << got.body;
  EXPECT_NE(got.body.find("If-None-Match: \"t\"\n"), std::string::npos) << got.body;
  EXPECT_EQ(got.body.find("Authorization"), std::string::npos);
  const HttpResponse busy = ask(client, {"GET", "/busy", {}, "", {}});
  EXPECT_EQ(busy.status, 503);
  EXPECT_EQ(std::ranges::find(busy.fields, HttpField{"Retry-After", "7"}) == busy.fields.end(),
            false);
  EXPECT_EQ(ask(client, {"HEAD", "/large", {}, "", {}}).body, "");
  EXPECT_EQ(ask(client, {"GET", "/elsewhere", {}, "", {}}).status, 302) << "nothing is followed";
}

TEST_F(ApiClientTest, BodiesAndTheTokenAreSent) {
  HttpClientOptions with_token = options();
  with_token.token = "secret";
  with_token.address += "/";
  ApiClient client(with_token);
  std::string body(1'000'000, 'a');
  body[7] = '\0';
  const HttpResponse got = ask(client, {"POST", "/p", {{"Content-Type", "image/png"}}, body, {}});
  EXPECT_EQ(got.status, 200);
  EXPECT_TRUE(got.body.ends_with(body));
  EXPECT_NE(got.body.find("Authorization: Bearer secret\n"), std::string::npos);
  EXPECT_NE(got.body.find("Content-Type: image/png\n"), std::string::npos);
  EXPECT_EQ(got.body.find("urlencoded"), std::string::npos);
  EXPECT_EQ(got.body.find("Expect:"), std::string::npos);
}

TEST_F(ApiClientTest, ABodyMayBeLent) {
  ApiClient client(options());
  HttpQuestion question{"POST", "/p", {}, "", {}};
  question.lent_body = std::make_shared<const std::string>("lent");
  EXPECT_TRUE(ask(client, question).body.ends_with("\nlent"));
}

TEST_F(ApiClientTest, AllAnswersTogetherAreBounded) {
  HttpClientOptions limited = options();
  limited.all_answer_bytes = 90'000;
  ApiClient client(limited);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(ask(client, {"GET", "/large", {}, "", {}}).status, 503);
    EXPECT_EQ(ask(client, {"GET", "/v1", {}, "", {}}).status, 200) << "its bytes are given back";
  }
}

TEST_F(ApiClientTest, ManyAtOnce) {
  ApiClient client(options());
  constexpr int kMany = 200;
  std::atomic<int> answered = 0, right = 0;
  std::promise<void> all;
  for (int i = 0; i < kMany; ++i) {
    const std::string target = "/" + std::to_string(i);
    client.ask({"GET", target, {}, "", {}}, [&, target](const HttpResponse& response) {
      if (response.body.starts_with("GET " + target + "\n")) ++right;
      if (++answered == kMany) all.set_value();
    });
  }
  all.get_future().wait();
  EXPECT_EQ(right, kMany);
}

TEST_F(ApiClientTest, WhatIsWrongHasAStatus) {
  HttpClientOptions limited = options();
  limited.answer_time = 100ms;
  limited.answer_bytes = 50'000;
  limited.waiting = 1;
  ApiClient client(limited);
  EXPECT_EQ(ask(client, {"GET", "/large", {}, "", {}}).status, 502) << "too large";
  std::promise<HttpResponse> late;
  client.ask({"GET", "/never", {}, "", {}}, [&](HttpResponse r) { late.set_value(std::move(r)); });
  EXPECT_EQ(ask(client, {"GET", "/v1", {}, "", {}}).status, 503) << "one waits, and more do not";
  EXPECT_EQ(late.get_future().get().status, 504);
  EXPECT_EQ(ask(client, {"GET", "/v1", {}, "", {}}).status, 200) << "and then there is room";
  EXPECT_EQ(ask(client, {"GET", "/never", {}, "", {}}).status, 504) << "on the same connection";

  HttpClientOptions nobody = options();
  nobody.address = "http://127.0.0.1:1";
  ApiClient alone(nobody);
  const HttpResponse none = ask(alone, {"GET", "/v1", {}, "", {}});
  EXPECT_EQ(none.status, 502);
  EXPECT_NE(none.body.find("does not answer"), std::string::npos) << none.body;
}

TEST_F(ApiClientTest, WhoTakesNoConnectionIsNotThere) {
  // A queue of connections that is full: the system drops what comes, without a word.
  const Descriptor deaf(::socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof address;
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  ASSERT_EQ(::bind(deaf.get(), any, bytes), 0);
  ASSERT_EQ(::listen(deaf.get(), 0), 0);
  ASSERT_EQ(::getsockname(deaf.get(), any, &bytes), 0);
  std::vector<Descriptor> waiting;
  for (int i = 0; i < 3; ++i) {
    waiting.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    static_cast<void>(::connect(waiting.back().get(), any, bytes));
  }
  HttpClientOptions options;
  options.address = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  options.connect_time = 200ms;
  ApiClient client(options);
  EXPECT_EQ(ask(client, {"GET", "/v1", {}, "", {}}).status, 502);
}

TEST_F(ApiClientTest, LeavingLeavesTheApiToo) {
  ApiClient client(options());
  std::atomic<bool> left = false;
  std::promise<HttpResponse> answer;
  client.ask({"GET", "/never", {}, "", [&] { return left.load(); }},
             [&](HttpResponse r) { answer.set_value(std::move(r)); });
  while (mirror_.held() == 0) std::this_thread::sleep_for(1ms);
  left = true;
  answer.get_future().wait();
  while (mirror_.abandoned() == 0) std::this_thread::sleep_for(1ms);
}

TEST_F(ApiClientTest, EndsWithRequestsUnanswered) {
  auto client = std::make_unique<ApiClient>(options());
  client->ask({"GET", "/never", {}, "", {}},
              [](const HttpResponse&) { FAIL() << "it was dropped"; });
  while (mirror_.held() == 0) std::this_thread::sleep_for(1ms);
  client.reset();
}

TEST_F(ApiClientTest, WhoAsksAfterTheEndHasNoAnswer) {
  ApiClient client(options());
  client.ask({"GET", "/never", {}, "", {}}, [](const HttpResponse&) { FAIL() << "an answer"; });
  while (mirror_.held() == 0) std::this_thread::sleep_for(5ms);
  client.stop();
  EXPECT_EQ(ask(client, {"GET", "/x", {}, "", {}}).status, 502);
  client.stop();
}

TEST_F(ApiClientTest, AnApiMayListenOnASocket) {
  const macadam::testing::TemporaryFolder folder;
  const auto path = folder.path() / "api.sock";
  HttpServer local({}, mirror_);
  local.listen(path);
  local.start();
  HttpClientOptions by_path = options();
  by_path.address = path.string();
  ApiClient client(by_path);
  EXPECT_EQ(ask(client, {"GET", "/v1", {}, "", {}}).status, 200);
}

TEST_F(ApiClientTest, WhatIsNoAddressIsRefused) {
  for (const char* address : {"", "127.0.0.1:8080", "ftp://host", "file:///etc/passwd", "http://",
                              "http://user:word@host", "http://host/?q=1", "http://host/#f",
                              "https//host", "http://ho st"}) {
    HttpClientOptions wrong = options();
    wrong.address = address;
    EXPECT_THROW(ApiClient{wrong}, InputError) << address;
  }
}

}  // namespace
