// What hostile traffic tries: the server answers with 4xx or 503, stays within its memory, and goes
// on answering others.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "image/deflate.h"
#include "tests/app/shared_folder.h"
#include "tests/serve/served.h"

namespace macadam {

namespace {

using namespace std::chrono_literals;

class Attacks : public SharedFolder<Attacks> {
 protected:
  static void SetUpTestSuite() {
    write_random_model(folder() / "m.safetensors");
    served_ = std::make_unique<Served>(
        folder(), std::vector<std::string>{"m.safetensors", "--max-body-mb", "1", "--connections",
                                           "400", "--request-seconds", "2", "--idle-seconds", "2"});
  }
  static void TearDownTestSuite() {
    const int code = served_->end();
    EXPECT_EQ(code, 0) << "after all of it the server ends in order";
    served_.reset();
    SharedFolder::TearDownTestSuite();
  }
  void TearDown() override {
    EXPECT_EQ(served().get("/v2/health/live").status, 200) << "the server goes on";
  }
  static Served& served() { return *served_; }

  /// How long the server takes to say that it lives.
  static std::chrono::milliseconds health_time() {
    const auto begun = std::chrono::steady_clock::now();
    EXPECT_EQ(served().get("/v2/health/live").status, 200);
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() -
                                                                 begun);
  }

 private:
  inline static std::unique_ptr<Served> served_;
};

const std::string kPost = "POST /v1/segment HTTP/1.1\r\nHost: h\r\n";

TEST_F(Attacks, AMillionChunksOfOneByte) {
  const size_t before = served().memory();
  std::string pieces;
  for (int i = 0; i < 10'000; ++i) pieces += "1\r\nx\r\n";
  for (const char* target : {"POST /v1/segment", "POST /v2/models/m/infer", "GET /v2/health/live",
                             "GET /metrics", "POST /none"}) {
    Client client(served().port());
    client.send(
        fmt::format("{} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", target));
    for (int i = 0; i < 100 && client.send(pieces); ++i) {
    }
    const auto reply = client.receive(20s);
    ASSERT_TRUE(reply) << target << ": the answer arrives";
    EXPECT_GE(reply->status, 400) << target;
    EXPECT_LT(reply->status, 500) << target;
  }
  EXPECT_LT(served().memory(), before + (32U << 20));
}

TEST_F(Attacks, BodiesAboveTheLimitAreToldSo) {
  const size_t limit = size_t{1} << 20;
  for (const size_t bytes : {limit - 1, limit, limit + 1, 5 * limit}) {
    const int expected = bytes > limit ? 413 : 400;
    const std::string body(bytes, 'x');
    EXPECT_EQ(served().ask("POST", "/v1/segment", body).status, expected) << bytes;
    EXPECT_EQ(
        served().send_raw(kPost + fmt::format("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", bytes) +
                          body + "\r\n0\r\n\r\n"),
        expected)
        << bytes << " in a chunk";
    std::string packed(deflate_bound(bytes), '\0');
    packed.resize(deflate_zlib({reinterpret_cast<const uint8_t*>(body.data()), bytes}, 6,
                               {reinterpret_cast<uint8_t*>(packed.data()), packed.size()}));
    EXPECT_EQ(served().ask("POST", "/v1/segment", packed, {"Content-Encoding: deflate"}).status,
              expected)
        << bytes << " packed";
  }
}

TEST_F(Attacks, APackedBombIsNotUnpacked) {
  const size_t before = served().memory();
  const std::string zeros(size_t{256} << 20, '\0');
  std::string packed(deflate_bound(zeros.size()), '\0');
  packed.resize(deflate_zlib({reinterpret_cast<const uint8_t*>(zeros.data()), zeros.size()}, 6,
                             {reinterpret_cast<uint8_t*>(packed.data()), packed.size()}));
  ASSERT_LT(packed.size(), size_t{1} << 20);
  for (const char* target : {"/v1/segment", "/v2/models/m/infer"}) {
    EXPECT_EQ(served().ask("POST", target, packed, {"Content-Encoding: deflate"}).status, 413);
  }
  EXPECT_LT(served().memory(), before + (32U << 20));
}

TEST_F(Attacks, LargePhotosTogetherStayWithinTheMemory) {
  write_random_model(folder() / "m2.safetensors");
  // 36 MB decoded, a few KB on the wire; to be shown, so that the whole photo waits with its mask.
  const std::string photo = flat_png(3000, 4000);
  ASSERT_LT(photo.size(), size_t{1} << 20);
  Served tight(folder(), {"m2.safetensors", "--work-memory-mb", "150", "--deadline-ms", "600000"},
               true, "tight.log");
  std::vector<std::thread> clients;
  std::atomic<int> done = 0, refused = 0;
  std::atomic<size_t> most = 0;
  for (int i = 0; i < 12; ++i) {
    clients.emplace_back([&] {
      const int status = tight.ask("POST", "/v1/segment?format=overlay", photo).status;
      if (status == 200) ++done;
      if (status == 503) ++refused;
      most = std::max(most.load(), tight.memory());
    });
  }
  for (auto& client : clients) client.join();
  EXPECT_GE(done, 1);
  EXPECT_GE(refused, 1);
  EXPECT_EQ(done + refused, 12);
  EXPECT_LT(most, size_t{700} << 20);
  EXPECT_EQ(tight.ask("POST", "/v1/segment?format=overlay", photo).status, 200);
  for (int i = 0; i < 200; ++i) {  // it is given back just behind the answer
    if (tight.get("/metrics").body.find("macadam_work_bytes 0\n") != std::string::npos) return;
    std::this_thread::sleep_for(20ms);
  }
  FAIL() << "the memory is not given back";
}

TEST_F(Attacks, HeadsWithoutAnEnd) {
  EXPECT_EQ(served().send_raw("GET /" + std::string(1 << 20, 'a')), 431);
  std::string fields = "GET / HTTP/1.1\r\nHost: h\r\n";
  for (int i = 0; i < 10'000; ++i) fields += fmt::format("X-{}: 1\r\n", i);
  EXPECT_EQ(served().send_raw(fields + "\r\n"), 431);
  EXPECT_EQ(served().send_raw("GET / HTTP/1.1\r\nHost: h\r\nX: " + std::string(1 << 20, 'a')), 431);
}

TEST_F(Attacks, Smuggling) {
  const std::string next = "GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n";
  for (const std::string& head : {
           kPost + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + next,
           kPost + "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde" + next,
           kPost + "Transfer-Encoding: chunked\r\n\r\n-2\r\n" + next,
           kPost + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n" + next,
           kPost + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + next,
           kPost + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + next,
           kPost + " folded\r\n\r\n" + next,
       }) {
    Client client(served().port());
    client.send(head);
    const auto reply = client.receive(20s);
    ASSERT_TRUE(reply) << head;
    EXPECT_GE(reply->status, 400) << head;
    EXPECT_FALSE(client.receive(3s)) << "nothing after it is a request: " << head;
  }
}

TEST_F(Attacks, OtherProtocolsAndForms) {
  EXPECT_EQ(served().send_raw("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"), 400);
  EXPECT_EQ(served().send_raw("GET http://169.254.169.254/ HTTP/1.1\r\nHost: h\r\n\r\n"), 400);
  EXPECT_EQ(served().send_raw("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505);
  EXPECT_EQ(served().send_raw("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"), 400);
  EXPECT_EQ(served().send_raw(std::string("\x16\x03\x01\x02\x00\x01", 6) + "\r\n\r\n"), 400);
  // RFC 9110, 7.8: a server that does not upgrade answers as if it had not been asked to.
  EXPECT_EQ(served().send_raw("GET /v2/health/live HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, "
                              "HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"),
            200);
}

TEST_F(Attacks, EveryEndpointAndVerb) {
  for (const char* target :
       {"/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/m", "/v2/models/m/ready",
        "/v2/models/m/config", "/v2/models/m/stats", "/v2/models/m/versions/1", "/v1/models",
        "/v1/classes", "/metrics", "/openapi.json"}) {
    EXPECT_EQ(served().get(target).status, 200) << target;
    EXPECT_EQ(served().get(std::string(target) + "/").status, 200) << target;
    EXPECT_EQ(served().get("/" + std::string(target)).status, 404) << "/" << target;
    const Reply head = served().ask("HEAD", target);
    EXPECT_EQ(head.status, 200);
    EXPECT_EQ(head.body, "");
    for (const char* verb : {"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get"}) {
      const Reply reply = served().ask(verb, target);
      EXPECT_EQ(reply.status, 405) << verb << " " << target;
      EXPECT_EQ(reply.field("allow"), "GET, HEAD");
      EXPECT_TRUE(nlohmann::json::accept(reply.body));
    }
    std::string upper = target;
    for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    if (upper != target) {
      EXPECT_EQ(served().get(upper).status, 404) << upper;
    }
  }
  for (const char* target : {"/v1/segment", "/v1/segment/m", "/v2/models/m/infer"}) {
    EXPECT_EQ(served().get(target).status, 405) << target;
  }
  for (const char* target : {"/", "/v3", "/v2/models/none", "/v2/models/m/versions/2",
                             "/v2/models/m/versions/1/none", "/v2/systemsharedmemory/status",
                             "/v2/repository/index", "/v2/models/..%2f..%2fetc%2fpasswd"}) {
    const Reply reply = served().get(target);
    EXPECT_EQ(reply.status, 404) << target;
    EXPECT_TRUE(nlohmann::json::accept(reply.body)) << reply.body;
  }
}

TEST_F(Attacks, DrippingClientsCostNoThread) {
  std::vector<Client> slow;
  for (int i = 0; i < 200; ++i) {
    slow.emplace_back(served().port());
    slow.back().send(i % 2 == 0 ? "GET / HT" : kPost + "Content-Length: 1000\r\n\r\nx");
  }
  auto slowest = 0ms;
  for (int i = 0; i < 5; ++i) slowest = std::max(slowest, health_time());
  EXPECT_LT(slowest, 2s);
  for (size_t i = 0; i < slow.size(); i += 20) {
    const auto reply = slow[i].receive(20s);
    ASSERT_TRUE(reply) << "a request has a time in which it arrives";
    EXPECT_EQ(reply->status, 408);
  }
}

TEST_F(Attacks, SilentConnectionsAreClosed) {
  Client silent(served().port()), used(served().port());
  used.send(request("GET", "/v2/health/live"));
  ASSERT_TRUE(used.receive());
  EXPECT_TRUE(silent.closed_within(20s));
  EXPECT_TRUE(used.closed_within(20s));
}

TEST_F(Attacks, ConnectionsAreCounted) {
  std::vector<Client> clients;
  int refused = 0;
  for (int i = 0; i < 420; ++i) clients.emplace_back(served().port());
  for (size_t i = 390; i < clients.size(); ++i) {
    const auto reply = clients[i].receive(100ms);
    if (reply && reply->status == 503) ++refused;
  }
  EXPECT_GE(refused, 10);
  clients.clear();
  for (int i = 0; i < 200; ++i) {
    Client again(served().port());
    again.send(request("GET", "/v2/health/live"));
    const auto reply = again.receive();
    if (reply && reply->status == 200) return;
    std::this_thread::sleep_for(20ms);
  }
  FAIL() << "there is room again";
}

TEST_F(Attacks, OddHeaderLengthsLeaveNothingBehind) {
  const auto send = [&] {
    for (const char* length : {"99999999999", "-1", "1e3", "+5", "", "0x5"}) {
      EXPECT_EQ(served()
                    .ask("POST", "/v2/models/m/infer", "{}",
                         {fmt::format("Inference-Header-Content-Length: {}", length)})
                    .status,
                400)
          << length;
    }
    EXPECT_EQ(served()
                  .ask("POST", "/v2/models/m/infer", "{}",
                       {"Inference-Header-Content-Length: 2", "Inference-Header-Content-Length: 1"})
                  .status,
              400);
  };
  for (int i = 0; i < 20; ++i) send();
  const size_t before = served().memory();
  for (int i = 0; i < 100; ++i) send();
  EXPECT_LT(served().memory(), before + (8U << 20));
}

TEST_F(Attacks, DeepJsonOnEveryEndpoint) {
  const std::string deep(100'000, '[');
  for (const char* target : {"/v2/models/m/infer", "/v1/segment", "/v2/repository/index", "/v2"}) {
    const int status =
        served().ask("POST", target, deep, {"Content-Type: application/json"}).status;
    EXPECT_GE(status, 400) << target;
    EXPECT_LT(status, 500) << target;
  }
}

TEST_F(Attacks, UnknownNamesMakeNoSeries) {
  served().get("/v2/models/none");
  const size_t before = served().get("/metrics").body.size();
  for (int i = 0; i < 300; ++i) {
    served().get(fmt::format("/v2/models/name-{}", i));
    served().get(fmt::format("/unknown-{}", i));
  }
  EXPECT_LT(served().get("/metrics").body.size(), before + 300);
}

TEST_F(Attacks, LogLinesCannotBeForged) {
  EXPECT_EQ(served().ask("GET", "/v2", {}, {"User-Agent: \x1b[31mred\x1b[0m"}).status, 400);
  served().ask("GET", "/v2/health/live", {},
               {"User-Agent: \302\23331mred\342\200\256", "X-Request-Id: one\"two",
                "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"});
  served().get("/v2/models/%0d%0a%7b%22event%22%3a%22forged%22%7d");
  served().ask("GET", "/v2/health/live", {}, {"User-Agent: " + std::string(10'000, 'x')});
  std::istringstream lines(served().log());
  size_t traced = 0;
  for (std::string line; std::getline(lines, line);) {
    ASSERT_TRUE(nlohmann::json::accept(line)) << line;
    EXPECT_NE(nlohmann::json::parse(line).value("event", ""), "forged");
    EXPECT_EQ(line.find('\x1b'), std::string::npos);
    EXPECT_EQ(line.find("\302\233"), std::string::npos);
    EXPECT_LT(line.size(), 2000u);
    if (line.find("0af7651916cd43dd8448eb211c80319c") != std::string::npos) ++traced;
  }
  EXPECT_EQ(traced, 1u);
}

TEST_F(Attacks, RequestIdsGoInAndOut) {
  EXPECT_EQ(served().ask("GET", "/v2", {}, {"X-Request-Id: my-id.7"}).field("x-request-id"),
            "my-id.7");
  const std::string made =
      served().ask("GET", "/v2", {}, {"X-Request-Id: with space"}).field("x-request-id");
  EXPECT_NE(made, "with space");
  EXPECT_EQ(made.size(), 16u);
  const auto refused = [](const char* method, const char* target, const std::string& body,
                          const char* field = "A: b") {
    const Reply reply = served().ask(method, target, body, {"X-Request-Id: my-id.8", field});
    EXPECT_EQ(reply.field("x-request-id"), "my-id.8") << reply.status;
    return reply.status;
  };
  EXPECT_EQ(refused("GET", "/none", ""), 404);
  EXPECT_EQ(refused("DELETE", "/v2", ""), 405);
  EXPECT_EQ(refused("POST", "/v1/segment", "x", "Content-Encoding: br"), 415);
  EXPECT_EQ(refused("POST", "/v1/segment", std::string(2 << 20, 'x')), 413);
  EXPECT_EQ(refused("GET", "/v2", "", "Host: twice"), 400);
}

TEST_F(Attacks, ClientsThatLeaveFreeTheirPlaces) {
  const std::string photo = png_photo(600, 600);
  for (int i = 0; i < 60; ++i) {
    Client client(served().port());
    const std::string whole = request("POST", "/v1/segment?tile=1&flip=1", photo);
    client.send(i % 2 == 0 ? whole : whole.substr(0, whole.size() / 2));
    client.leave();
  }
  for (int i = 0; i < 300; ++i) {
    const std::string metrics = served().get("/metrics").body;
    if (metrics.find("macadam_working_requests 0\n") != std::string::npos) return;
    std::this_thread::sleep_for(50ms);
  }
  FAIL() << "their requests are given up";
}

TEST_F(Attacks, PipelinedRequestsAreAnsweredInOrder) {
  Client client(served().port());
  client.send(request("GET", "/v2/health/live") +
              request("POST", "/v1/segment", png_photo(20, 20)) + request("GET", "/v1/none") +
              request("GET", "/v2"));
  std::vector<int> statuses;
  for (int i = 0; i < 4; ++i) statuses.push_back(client.receive().value_or(Reply{}).status);
  EXPECT_EQ(statuses, (std::vector<int>{200, 200, 404, 200}));
}

TEST_F(Attacks, ExpectationsAreAnsweredBeforeTheBody) {
  Client client(served().port());
  client.send(
      "POST /v1/none HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.receive().value_or(Reply{}).status, 404) << "the body is not asked for";
  Client other(served().port());
  other.send(kPost + "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n");
  std::this_thread::sleep_for(100ms);
  other.send("abc");
  EXPECT_EQ(other.receive().value_or(Reply{}).status, 400) << "abc is no photo";
}

}  // namespace

}  // namespace macadam
