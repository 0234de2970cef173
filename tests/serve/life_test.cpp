// The server's life: how it starts, what it does when it cannot, how models are replaced under it,
// and how it ends.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <csignal>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/app/shared_folder.h"
#include "tests/serve/served.h"

namespace macadam {

namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

class Life : public SharedFolder<Life> {
 protected:
  static void SetUpTestSuite() {
    write_random_model(folder() / "m.safetensors", 1);
    write_random_model(folder() / "other.safetensors", 2);
  }

  /// Puts a copy of `from` in the place of `to`.
  static void replace(const fs::path& from, const fs::path& to) {
    fs::copy_file(from, to.string() + ".new", fs::copy_options::overwrite_existing);
    fs::rename(to.string() + ".new", to);
  }
  static bool wait_for(const std::function<bool()>& what) {
    for (int i = 0; i < 600; ++i) {
      if (what()) return true;
      std::this_thread::sleep_for(50ms);
    }
    return false;
  }
};

TEST_F(Life, WhatCannotBeServedIsOneErrorLine) {
  write_text(folder() / "broken.safetensors", "no model");
  const std::string whole = read_text(folder() / "m.safetensors");
  write_text(folder() / "cut.safetensors", whole.substr(0, whole.size() / 2));
  write_text(folder() / "bad.toml", "port = 8080\nporrt = 1\n");
  write_text(folder() / "token", "two words\n");
  const auto serve = [](std::vector<std::string> words) {
    words.insert(words.begin(), "serve");
    for (const char* word : {"--log", "unused.log"}) words.emplace_back(word);
    return macadam(folder(), words);
  };
  expect_input_error(serve({}), {"no model"});
  expect_input_error(serve({"none.safetensors"}), {"none.safetensors"});
  expect_input_error(serve({"a b=m.safetensors"}), {"'a b'"});
  expect_input_error(serve({"m:0=m.safetensors"}), {"'0'"});
  expect_input_error(serve({"m.safetensors", "m=other.safetensors"}), {"m:1"});
  expect_input_error(serve({"m.safetensors", "--port", "70000"}), {"port", "65535"});
  expect_input_error(serve({"m.safetensors", "--max-batch", "0"}), {"max_batch"});
  expect_input_error(serve({"m.safetensors", "--host", "256.1.1.1", "--port", "0"}), {"256.1.1.1"});
  expect_input_error(serve({"m.safetensors", "--config", "bad.toml"}), {"porrt", "port"});
  expect_input_error(serve({"m.safetensors", "--token-file", "token", "--port", "0"}), {"token"});
  expect_input_error(serve({"m.safetensors", "--gallery", "none", "--port", "0"}), {"none"});
  expect_input_error(macadam(folder(), {"serve", "m.safetensors", "--log", "none/log"}),
                     {"none/log"});
  for (const char* model : {"broken.safetensors", "cut.safetensors"}) {
    const ProgramResult result = serve({model, "--port", "0"});
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_NE(result.err.find(std::string("error: ")), std::string::npos) << result.err;
    EXPECT_NE(result.err.find(model), std::string::npos) << result.err;
  }
}

TEST_F(Life, APortThatIsTakenIsNamed) {
  Served first(folder(), {"m.safetensors"});
  expect_input_error(macadam(folder(), {"serve", "m.safetensors", "--port",
                                        std::to_string(first.port()), "--log", "unused.log"}),
                     {std::to_string(first.port()), "--port"});
}

TEST_F(Life, ItLivesBeforeItIsReady) {
  Served served(folder(), {"m.safetensors", "--max-batch", "32"}, false);
  const Reply live = served.get("/v2/health/live");
  EXPECT_EQ(live.status, 200);
  int before = 0;
  while (served.get("/v2/health/ready").status != 200) {
    const Reply photo = served.ask("POST", "/v1/segment", png_photo(10, 10));
    if (photo.status == 503) ++before;
    ASSERT_TRUE(photo.status == 503 || photo.status == 200) << photo.status;
  }
  EXPECT_EQ(served.ask("POST", "/v1/segment", png_photo(10, 10)).status, 200);
  EXPECT_EQ(served.end(), 0);
}

TEST_F(Life, ItEndsWhileItStarts) {
  Served served(folder(), {"m.safetensors", "--max-batch", "32"}, false);
  EXPECT_EQ(served.end(), 0);
}

TEST_F(Life, WhatIsBegunIsFinished) {
  Served served(folder(), {"m.safetensors", "--grace-seconds", "1", "--deadline-ms", "600000"});
  const std::string photo = png_photo(150, 300);
  std::vector<std::thread> clients;
  std::atomic<int> answered = 0;
  for (int i = 0; i < 6; ++i) {
    clients.emplace_back([&] {
      if (served.ask("POST", "/v1/segment?tile=1", photo).status == 200) ++answered;
    });
  }
  ASSERT_TRUE(wait_for([&] {
    return served.get("/metrics").body.find("macadam_working_requests 0\n") == std::string::npos ||
           answered > 0;
  }));
  Client kept(served.port());
  kept.send(request("GET", "/v2/health/ready"));
  EXPECT_EQ(kept.receive().value_or(Reply{}).status, 200);
  served.program().send(SIGTERM);
  EXPECT_TRUE(wait_for([&] { return served.get("/v2/health/ready").status == 503; }))
      << "not ready first, while it still answers";
  EXPECT_EQ(served.get("/v2/health/live").status, 200);
  for (auto& client : clients) client.join();
  EXPECT_EQ(answered, 6);
  EXPECT_EQ(served.program().wait().exit_code, 0);
}

TEST_F(Life, WhatArrivesWhenTheTimeIsUpIsToldSo) {
  Served served(folder(), {"m.safetensors", "--grace-seconds", "0", "--drain-seconds", "0.3"});
  std::thread slow([&] { served.ask("POST", "/v1/segment?tile=1&flip=1", flat_png(500, 1000)); });
  EXPECT_TRUE(wait_for([&] {
    return served.get("/metrics").body.find("macadam_working_requests 0\n") == std::string::npos;
  }));
  const std::string whole = request("POST", "/v1/segment", png_photo(30, 30));
  Client late(served.port());
  late.send(std::string_view(whole).substr(0, whole.size() - 1));
  served.program().send(SIGTERM);
  std::this_thread::sleep_for(600ms);
  late.send(std::string_view(whole).substr(whole.size() - 1));
  slow.join();
  EXPECT_EQ(served.program().wait().exit_code, 0);
}

TEST_F(Life, ASecondSignalEndsItAtOnce) {
  Served served(folder(), {"m.safetensors", "--grace-seconds", "600"});
  served.program().send(SIGTERM);
  ASSERT_TRUE(wait_for([&] { return served.get("/v2/health/ready").status == 503; }));
  std::this_thread::sleep_for(700ms);
  const auto begun = std::chrono::steady_clock::now();
  served.program().send(SIGTERM);
  EXPECT_NE(served.program().wait().exit_code, 0);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 20s);
}

TEST_F(Life, AReplacedModelIsServedAndABadFileIsNot) {
  replace(folder() / "m.safetensors", folder() / "live.safetensors");
  Served served(folder(), {"live.safetensors"});
  const std::string photo = png_photo(32, 64);
  const std::string first = served.ask("POST", "/v1/segment?format=raw", photo).body;
  const auto digest = [&] {
    return nlohmann::json::parse(served.get("/v1/models").body)["models"][0]["digest"]
        .get<std::string>();
  };
  const std::string first_digest = digest();

  std::atomic<bool> going = true;
  std::atomic<int> failed = 0, done = 0;
  std::vector<std::thread> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([&] {
      while (going) {
        served.ask("POST", "/v1/segment", photo).status == 200 ? ++done : ++failed;
      }
    });
  }
  replace(folder() / "other.safetensors", folder() / "live.safetensors");
  EXPECT_TRUE(wait_for([&] { return digest() != first_digest; }));
  const std::string second_digest = digest();
  const std::string second = served.ask("POST", "/v1/segment?format=raw", photo).body;
  EXPECT_NE(second, first);

  // Overwritten in place, and cut short.
  write_text(folder() / "live.safetensors", read_text(folder() / "m.safetensors").substr(0, 5000));
  EXPECT_TRUE(wait_for([&] { return served.log().find("model kept") != std::string::npos; }));
  EXPECT_EQ(digest(), second_digest);
  fs::remove(folder() / "live.safetensors");
  std::this_thread::sleep_for(1200ms);
  EXPECT_EQ(served.ask("POST", "/v1/segment?format=raw", photo).body, second);

  replace(folder() / "m.safetensors", folder() / "live.safetensors");
  EXPECT_TRUE(wait_for([&] { return digest() == first_digest; }));
  EXPECT_EQ(served.ask("POST", "/v1/segment?format=raw", photo).body, first);
  going = false;
  for (auto& client : clients) client.join();
  EXPECT_EQ(failed, 0);
  EXPECT_GT(done, 0);
}

TEST_F(Life, AUnixSocketSpeaksTheSame) {
  const fs::path socket = folder() / "s.sock";
  {
    Served served(folder(), {"m.safetensors", "--unix", "s.sock"});
    Client client(socket);
    client.send(request("POST", "/v1/segment?format=raw", png_photo(20, 30)));
    EXPECT_EQ(client.receive().value_or(Reply{}).body.size(), 600u);
    expect_input_error(
        macadam(folder(), {"serve", "m.safetensors", "--unix", "s.sock", "--log", "unused.log"}),
        {"s.sock"});
    client.leave();
    EXPECT_EQ(served.end(), 0);
  }
  EXPECT_FALSE(fs::exists(socket)) << "it goes with the server";
  write_text(socket, "a file");
  expect_input_error(
      macadam(folder(), {"serve", "m.safetensors", "--unix", "s.sock", "--log", "unused.log"}),
      {"s.sock"});
  fs::remove(socket);
  {
    Served killed(folder(), {"m.safetensors", "--unix", "s.sock"});
    killed.program().send(SIGKILL);
    killed.program().wait();
    EXPECT_TRUE(fs::exists(socket));
  }
  Served again(folder(), {"m.safetensors", "--unix", "s.sock"});
  EXPECT_EQ(again.end(), 0) << "what a killed server left behind is no hindrance";
}

TEST_F(Life, ATokenIsAskedForAndNeverTold) {
  const std::string token = "a-secret-0123456789";
  write_text(folder() / "good.token", token + "\n");
  Served served(folder(), {"m.safetensors", "--token-file", "good.token"});
  for (const char* open : {"/v2/health/live", "/v2/health/ready", "/v2/models/m/ready"}) {
    EXPECT_EQ(served.get(open).status, 200) << open;
  }
  for (const char* target : {"/v2", "/v2/", "/v1/models", "/metrics", "/openapi.json",
                             "/v2/models/m", "/v2/models/m/versions/1/config"}) {
    const Reply refused = served.ask("GET", target, {}, {"X-Request-Id: mine"});
    EXPECT_EQ(refused.status, 401) << target;
    EXPECT_EQ(refused.field("x-request-id"), "mine");
    EXPECT_EQ(served.ask("HEAD", target).status, 401) << target;
    EXPECT_EQ(served.ask("GET", target, {}, {"Authorization: Bearer " + token}).status, 200);
    for (const std::string wrong :
         {"", "x", "a-secret-012345678", "a-secret-01234567890", "A-SECRET-0123456789"}) {
      EXPECT_EQ(served.ask("GET", target, {}, {"Authorization: Bearer " + wrong}).status, 401);
    }
  }
  EXPECT_EQ(served.ask("POST", "/v1/segment", png_photo(9, 9)).status, 401);
  EXPECT_EQ(served.end(), 0);
  EXPECT_EQ(served.log().find(token), std::string::npos);
}

TEST_F(Life, MoreThanTheQueueIsToldSoAtOnce) {
  Served served(folder(),
                {"m.safetensors", "--queue", "2", "--max-batch", "1", "--deadline-ms", "600000"});
  const std::string photo = png_photo(100, 200);
  std::atomic<int> done = 0, refused = 0, others = 0;
  std::vector<std::thread> clients;
  for (int i = 0; i < 12; ++i) {
    clients.emplace_back([&] {
      const Reply reply = served.ask("POST", "/v1/segment?tile=1", photo);
      if (reply.status == 200) {
        ++done;
      } else if (reply.status == 503 && reply.field("retry-after") == "1") {
        ++refused;
      } else {
        ++others;
      }
    });
  }
  for (auto& client : clients) client.join();
  EXPECT_GE(done, 2);
  EXPECT_GE(refused, 1);
  EXPECT_EQ(others, 0);
  EXPECT_NE(served.get("/metrics").body.find("macadam_rejections_total{reason=\"queue_full\"}"),
            std::string::npos);
  EXPECT_EQ(served.ask("POST", "/v1/segment", photo).status, 200);
}

TEST_F(Life, APhotoThatWaitsTooLongIsNotRun) {
  Served served(folder(), {"m.safetensors", "--deadline-ms", "1", "--max-batch", "1"});
  const std::string photo = png_photo(400, 800);
  std::vector<std::thread> clients;
  std::atomic<int> late = 0;
  for (int i = 0; i < 8; ++i) {
    clients.emplace_back([&] {
      if (served.ask("POST", "/v1/segment?tile=1", photo).status == 503) ++late;
    });
  }
  for (auto& client : clients) client.join();
  EXPECT_GE(late, 1);
}

TEST_F(Life, ALogWithoutRoomLosesLinesAndNothingElse) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "there is no /dev/full";
  Program program(folder(), {"serve", "m.safetensors", "--port", "0", "--log", "/dev/full"});
  std::this_thread::sleep_for(2s);
  EXPECT_TRUE(program.running());
  program.send(SIGTERM);
  EXPECT_EQ(program.wait().exit_code, 0);
}

}  // namespace

}  // namespace macadam
