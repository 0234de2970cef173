// A server whose allocations fail, one after the other: each request is answered or its connection
// closed, no other is harmed, and nothing is lost of what requests are counted by.

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <set>
#include <thread>

#include "server/inference_server.h"
#include "tests/app/shared_folder.h"
#include "tests/serve/client.h"
#include "tests/serve/served.h"
#include "tests/serve_memory/failing_new.h"

namespace macadam {

namespace {

using namespace std::chrono_literals;
using testing::FailingNew;

class RequestMemory : public SharedFolder<RequestMemory> {
 protected:
  static void SetUpTestSuite() {
    testing::exempt_this_thread();
    write_random_model(folder() / "m.safetensors");
    ServeConfig config;
    config.models = {(folder() / "m.safetensors").string()};
    config.port = 0;
    config.threads = 1;
    config.queue = 4;  // places that are not given back are missed soon
    config.connections = 8;
    config.response_seconds = 1;  // an answer that is lost on its way closes the connection
    server_ = std::make_unique<InferenceServer>(config, [](std::string_view) {});
    std::atomic<bool> ready = false;
    life_ = std::jthread([&ready](const std::stop_token& stop) {
      testing::exempt_this_thread();
      server_->run([&] { return stop.stop_requested(); }, [&] { ready = true; });
    });
    while (!ready) std::this_thread::sleep_for(1ms);
    const std::string address = server_->address();
    port_ = std::stoi(address.substr(address.rfind(':') + 1));
  }
  static void TearDownTestSuite() {
    life_ = {};
    server_.reset();
    SharedFolder::TearDownTestSuite();
  }

  /// The status; 0 when the connection was closed. A connection that neither is a failure.
  static int status(const std::string& bytes) {
    Client client(port_);
    client.send(bytes);
    const auto reply = client.receive(5s);
    if (reply) return reply->status;
    EXPECT_TRUE(client.closed_within(5s)) << "neither answered nor closed";
    return 0;
  }

  /// Lets every allocation fail that the request meets, and `more` after it; gives what the client
  /// saw.
  static std::set<int> fail_each(const std::string& bytes, int64_t more) {
    EXPECT_EQ(status(bytes), 200);
    std::set<int> seen;
    constexpr int64_t kMost = 100'000;
    int64_t which = 1;
    for (bool reached = true; reached && which < kMost; ++which) {
      {
        const FailingNew failing(which, more);
        seen.insert(status(bytes));
        reached = failing.reached();
      }
      if (which % 16 == 1 || !reached) {
        EXPECT_EQ(status(bytes), 200) << "after number " << which;
      }
      if (HasFailure()) break;
    }
    EXPECT_LT(which, kMost);
    EXPECT_GT(which, 5);  // there was something to fail
    return seen;
  }

  static void expect_answers(const std::string& bytes) {
    for (const int64_t more : {0, 20}) {
      SCOPED_TRACE(more);
      for (const int seen : fail_each(bytes, more)) {
        EXPECT_TRUE(seen == 0 || seen == 200 || seen == 500 || seen == 503) << seen;
      }
    }
  }

 private:
  inline static std::unique_ptr<InferenceServer> server_;
  inline static std::jthread life_;
  inline static int port_ = 0;
};

TEST_F(RequestMemory, OfAMask) {
  expect_answers(request("POST", "/v1/segment", png_photo(40, 50), {"Connection: close"}));
}

TEST_F(RequestMemory, OfMoreThanAMask) {
  expect_answers(
      request("POST", "/v1/segment?format=color&confidence=1&flip=1", png_photo(40, 50)));
  expect_answers(request("POST", "/v1/segment?tile=1&format=overlay", jpeg_photo(70, 90)));
}

TEST_F(RequestMemory, OfSeveralPhotos) {
  std::string body;
  for (uint32_t i = 0; i < 3; ++i) {
    body +=
        "--b\r\nContent-Disposition: form-data; name=\"p\"\r\n\r\n" + png_photo(9, 9, i) + "\r\n";
  }
  body += "--b--\r\n";
  expect_answers(
      request("POST", "/v1/segment", body, {"Content-Type: multipart/form-data; boundary=b"}));
}

TEST_F(RequestMemory, OfTheInferenceProtocol) {
  const std::string body =
      R"({"inputs":[{"name":"photo","shape":[1,2,2,3],"datatype":"UINT8",)"
      R"("data":[0,1,2,3,4,5,6,7,8,9,10,11]}],"parameters":{"binary_data_output":true}})";
  expect_answers(request("POST", "/v2/models/m/infer", body));
}

TEST_F(RequestMemory, OfThePageForPrometheus) { expect_answers(request("GET", "/metrics")); }

}  // namespace

}  // namespace macadam
