// Photos with many windows (tile=1): what they may need, and that they are given up in time.

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "base/to_size.h"
#include "tests/app/shared_folder.h"
#include "tests/serve/served.h"

namespace macadam {

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr std::string_view kTile = "/v1/segment?format=raw&tile=1";

class Windows : public SharedFolder<Windows> {
 protected:
  static void SetUpTestSuite() { write_random_model(folder() / "m.safetensors"); }

  /// A server that many windows are no matter for.
  static Served serve(std::vector<std::string> options) {
    std::vector<std::string> words{"m.safetensors", "--threads", "1", "--max-windows", "1000000"};
    words.insert(words.end(), options.begin(), options.end());
    return Served(folder(), words);
  }

  static bool is_working(const Served& served) {
    return served.get("/metrics").body.find("macadam_working_requests 0\n") == std::string::npos;
  }
  /// Waits until a photo that was decoded is with the network.
  static void wait_until_it_runs(const Served& served) {
    while (!is_working(served)) std::this_thread::sleep_for(10ms);
    std::this_thread::sleep_for(1s);
  }
};

TEST_F(Windows, ALargePhotoNeedsTheMemoryOfABand) {
  Served served = serve({"--deadline-ms", "600000"});
  EXPECT_EQ(served.ask("POST", kTile, flat_png(100, 100)).status, 200);
  const size_t before = served.memory();
  const Reply reply = served.ask("POST", kTile, flat_png(1600, 1600));
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.body.size(), size_t{1600} * 1600);
  EXPECT_LT(served.memory(), before + (size_t{48} << 20)) << "all sums are 78 MiB";
}

TEST_F(Windows, TooManyAreRefused) {
  Served served(folder(), {"m.safetensors", "--max-windows", "20", "--work-memory-mb", "1"});
  EXPECT_EQ(served.ask("POST", kTile, flat_png(64, 128)).status, 200) << "9 windows";
  const Reply many = served.ask("POST", kTile, flat_png(600, 600));
  EXPECT_EQ(many.status, 413);
  EXPECT_NE(many.body.find("666 windows"), std::string::npos) << many.body;
  EXPECT_NE(many.body.find("without tile"), std::string::npos) << many.body;
  EXPECT_EQ(served.ask("POST", "/v1/segment?format=raw", flat_png(600, 600)).status, 200);
  EXPECT_EQ(served.end(), 0);
}

TEST_F(Windows, APhotoThatNeedsMoreThanThereIsIsRefusedThoughItComesAlone) {
  Served served = serve({"--work-memory-mb", "1"});
  const Reply wide = served.ask("POST", kTile, flat_png(60, 30'000));
  EXPECT_EQ(wide.status, 413);
  EXPECT_NE(wide.body.find("MiB"), std::string::npos) << wide.body;
  EXPECT_EQ(served.ask("POST", kTile, flat_png(900, 60)).status, 200);
}

TEST_F(Windows, TheDeadlineEndsWhatRuns) {
  Served served = serve({"--deadline-ms", "1000"});
  const auto begun = Clock::now();
  EXPECT_EQ(served.ask("POST", kTile, flat_png(3000, 3000)).status, 503);
  EXPECT_LT(Clock::now() - begun, 20s);
  EXPECT_EQ(served.ask("POST", kTile, flat_png(32, 64)).status, 200) << "the network is free";
}

TEST_F(Windows, AClientThatLeavesEndsWhatRuns) {
  Served served = serve({"--deadline-ms", "600000"});
  {
    Client client(served.port());
    client.send(request("POST", kTile, flat_png(3000, 3000)));
    wait_until_it_runs(served);
    client.leave();
  }
  const auto begun = Clock::now();
  EXPECT_EQ(served.ask("POST", kTile, flat_png(32, 64)).status, 200);
  EXPECT_LT(Clock::now() - begun, 3s);
  const std::string metrics = served.get("/metrics").body;
  EXPECT_NE(metrics.find("macadam_rejections_total{reason=\"abandoned\"} 1\n"), std::string::npos)
      << metrics;
}

TEST_F(Windows, TheServersEndEndsWhatRuns) {
  Served served = serve({"--deadline-ms", "600000", "--drain-seconds", "0.1"});
  Client client(served.port());
  client.send(request("POST", kTile, flat_png(6000, 6000)));
  wait_until_it_runs(served);
  const auto begun = Clock::now();
  EXPECT_EQ(served.end(), 0);
  EXPECT_LT(Clock::now() - begun, 10s);
}

}  // namespace

}  // namespace macadam
