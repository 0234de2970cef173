// What the server says of itself: /metrics under overload, and Triton's statistics.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>
#include <vector>

#include "tests/app/shared_folder.h"
#include "tests/serve/served.h"

namespace macadam {

namespace {

using Json = nlohmann::json;
using namespace std::chrono_literals;

class Counts : public SharedFolder<Counts> {
 protected:
  static void SetUpTestSuite() { write_random_model(folder() / "m.safetensors"); }

  /// The value of a series; nothing when it is not there.
  static std::optional<double> value(const Served& served, const std::string& series) {
    const std::string text = "\n" + served.get("/metrics").body;
    const size_t at = text.find("\n" + series + " ");
    if (at == std::string::npos) return std::nullopt;
    return std::stod(text.substr(at + series.size() + 2));
  }
  static double rejections(const Served& served, const std::string& reason) {
    return value(served, fmt::format("macadam_rejections_total{{reason=\"{}\"}}", reason)).value();
  }
  static std::string requests(const std::string& route, int status) {
    return fmt::format(R"(macadam_requests_total{{route="{}",status="{}"}})", route, status);
  }
  /// Begins a prediction of many windows, and waits until its photo is in work.
  static Client occupy(const Served& served) {
    Client client(served.port());
    client.send(request("POST", "/v1/segment?tile=1&flip=1", flat_png(12'000, 150)));
    for (int i = 0; i < 500 && value(served, "macadam_work_bytes") == 0.0; ++i) {
      std::this_thread::sleep_for(10ms);
    }
    return client;
  }
};

TEST_F(Counts, RefusalsHaveNoTime) {
  Served served(folder(), {"m.safetensors", "--queue", "1", "--deadline-ms", "600000",
                           "--max-windows", "100000"});
  const std::string seconds = R"(macadam_request_seconds_count{route="/v1/segment"})";
  // From the head.
  EXPECT_EQ(served.ask("POST", "/v1/segment", "x", {"Content-Encoding: br"}).status, 415);
  EXPECT_EQ(value(served, requests("/v1/segment", 415)), 1);
  EXPECT_EQ(value(served, seconds), std::nullopt);
  // After the body, when others have taken the places meanwhile.
  const std::string whole = request("POST", "/v1/segment", "photo");
  Client late(served.port());
  late.send(whole.substr(0, whole.size() - 1));
  std::this_thread::sleep_for(100ms);
  const Client busy = occupy(served);
  EXPECT_EQ(served.ask("POST", "/v1/segment", "x").status, 503);
  late.send(whole.substr(whole.size() - 1));
  EXPECT_EQ(late.receive().value_or(Reply{}).status, 503);
  EXPECT_EQ(rejections(served, "queue_full"), 2);
  EXPECT_EQ(value(served, requests("/v1/segment", 503)), 2);
  EXPECT_EQ(value(served, seconds), std::nullopt) << "the one that works has not ended";
}

TEST_F(Counts, WantOfMemoryHasAReason) {
  Served served(folder(), {"m.safetensors", "--work-memory-mb", "1", "--deadline-ms", "600000",
                           "--max-windows", "100000"});
  const Client busy = occupy(served);
  EXPECT_EQ(served.ask("POST", "/v1/segment", flat_png(9, 9)).status, 503);
  EXPECT_EQ(rejections(served, "memory"), 1);
}

TEST_F(Counts, FaultsAreRequestsOfNoRoute) {
  Served served(folder(), {"m.safetensors", "--connections", "16"});
  EXPECT_EQ(served.send_raw("nonsense\r\n\r\n"), 400);
  int status = 200;
  {
    std::vector<Client> clients;
    for (int i = 0; i < 40 && status == 200; ++i) {
      clients.emplace_back(served.port());
      clients.back().send(request("GET", "/v2/health/live"));
      status = clients.back().receive().value_or(Reply{}).status;
    }
  }
  EXPECT_EQ(status, 503);
  for (int i = 0; i < 100 && served.get("/v2/health/live").status != 200; ++i) {
    std::this_thread::sleep_for(20ms);
  }
  std::this_thread::sleep_for(200ms);  // until all have left
  EXPECT_EQ(value(served, requests("none", 400)), 1);
  EXPECT_GE(value(served, requests("none", 503)).value_or(0), 1);
  EXPECT_GE(rejections(served, "connections"), 1);
  EXPECT_EQ(rejections(served, "malformed_http"), 1) << "that was no fault of the client's";
}

TEST_F(Counts, RequestsLeaveNothingAllocated) {
  Served served(folder(), {"m.safetensors"});
  const std::string photo = flat_png(300, 200);
  const auto ask_all = [&](int rounds) {
    for (int i = 0; i < rounds; ++i) {
      EXPECT_EQ(served.ask("POST", "/v1/segment", photo).status, 200);
      EXPECT_EQ(served.ask("POST", "/v1/segment?format=rle&confidence=1&tile=1", photo).status,
                200);
      EXPECT_EQ(served.ask("POST", "/v1/segment", photo.substr(0, 50)).status, 400);
      EXPECT_EQ(
          served.ask("POST", "/v2/models/m/infer", photo, {"Inference-Header-Content-Length: 0"})
              .status,
          200);
    }
    std::this_thread::sleep_for(200ms);  // until connections have gone
    return value(served, "macadam_allocated_bytes").value();
  };
  const double warm = ask_all(10);
  if (warm == 0) GTEST_SKIP() << "the C library keeps no account";
  EXPECT_GT(warm, 1 << 20);
  EXPECT_LT(ask_all(100), warm + (256 << 10));
}

TEST_F(Counts, StatisticsAreOfRequestsAndWhole) {
  Served served(folder(), {"m.safetensors"});
  constexpr int kPhotos = 8, kSide = 150;
  const std::string photos(size_t{kPhotos} * kSide * kSide * 3, 'p');
  const std::string json = Json{{"inputs",
                                 {{{"name", "photo"},
                                   {"datatype", "UINT8"},
                                   {"shape", {kPhotos, kSide, kSide, 3}},
                                   {"parameters", {{"binary_data_size", photos.size()}}}}}},
                                {"outputs", {{{"name", "scores"}}}}}  // as text: that takes long
                               .dump();
  const auto begun = std::chrono::steady_clock::now();
  ASSERT_EQ(served
                .ask("POST", "/v2/models/m/infer", json + photos,
                     {fmt::format("Inference-Header-Content-Length: {}", json.size())})
                .status,
            200);
  const auto seen =
      std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begun);
  const Json all = Json::parse(served.get("/v2/models/m/stats").body)["model_stats"][0];
  EXPECT_EQ(all["inference_count"], kPhotos);
  const Json& stats = all["inference_stats"];
  double parts = 0;
  for (const char* stage : {"queue", "compute_input", "compute_infer", "compute_output"}) {
    EXPECT_EQ(stats[stage]["count"], 1) << stage;
    parts += stats[stage]["ns"].get<double>();
  }
  EXPECT_EQ(stats["success"]["count"], 1);
  const double whole = stats["success"]["ns"].get<double>();
  EXPECT_LT(whole, seen.count());
  EXPECT_GE(whole, parts) << "encoding is a part of it";
  const std::string encode = R"(macadam_encode_seconds_{}{{model="m",version="1"}})";
  EXPECT_EQ(value(served, fmt::format(fmt::runtime(encode), "count")), kPhotos);
  EXPECT_NEAR(value(served, fmt::format(fmt::runtime(encode), "sum")).value_or(0) * 1e9,
              stats["compute_output"]["ns"].get<double>(), 1e4);

  const std::string two = "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n" +
                          png_photo(9, 9) +
                          "\r\n--x\r\nContent-Disposition: form-data; name=\"b\"\r\n\r\nno photo"
                          "\r\n--x--\r\n";
  EXPECT_EQ(
      served.ask("POST", "/v1/segment", two, {"Content-Type: multipart/form-data; boundary=x"})
          .status,
      200);
  EXPECT_EQ(served.ask("POST", "/v1/segment", "no photo").status, 400);
  const Json after =
      Json::parse(served.get("/v2/models/m/stats").body)["model_stats"][0]["inference_stats"];
  EXPECT_EQ(after["success"]["count"], 2);
  EXPECT_EQ(after["fail"]["count"], 1);
  EXPECT_GT(after["fail"]["ns"], 0);
}

}  // namespace

}  // namespace macadam
