// What the viewer lets through to the API, to whom it answers at all, and what it shows of runs.

#include "server/view/view_handler.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tests/base/temporary_folder.h"
#include "tests/serve/client.h"

using namespace macadam;

namespace {

namespace fs = std::filesystem;

/// An API that keeps what it was asked.
class Keeper : public HttpHandler {
 public:
  std::optional<HttpResponse> refuse(const HttpRequest&) override { return std::nullopt; }
  void handle(std::shared_ptr<Exchange> exchange) override {
    const std::lock_guard lock(mutex_);
    asked_.push_back(exchange->request());
    exchange->respond({200, "text/html", "<script>", {{"ETag", "\"e\""}, {"Set-Cookie", "a=b"}}});
  }
  HttpResponse answer_fault(const RequestFault& fault, const HttpRequest&) override {
    return {fault.status, "text/plain", fault.reason, {}};
  }
  std::vector<HttpRequest> asked() {
    const std::lock_guard lock(mutex_);
    return std::exchange(asked_, {});
  }

 private:
  std::mutex mutex_;
  std::vector<HttpRequest> asked_;
};

class ViewHandlerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!has_http_client()) GTEST_SKIP() << "this build has no curl";
    const int port = api_.listen("127.0.0.1", 0);
    api_.start();
    write("good/config.toml", "network = \"unet_mini\"\n[loader]\nthreads = 2\n");
    write("good/results.csv", "epoch,train_loss,miou_present\n1,2.5,0.25\n2,1.5,0.5\n");
    write("good/scores.json", "{\"classes\": [{\"name\": \"<b>\", \"iou\": 0.5}]}");
    write("good/report.html", "<p>a report</p>");
    write("good/samples/a.png", "not looked at");
    write("good/samples/epochs/a/0001.png", "an epoch");
    write("bad/config.toml", "network = [");
    write("no_run/other.txt", "");
    write("../secret.png", "secret");
    fs::create_symlink(folder_.path() / "secret.png", runs() / "good/samples/link.png");
    HttpClientOptions options;
    options.address = "http://127.0.0.1:" + std::to_string(port);
    client_ = std::make_unique<ApiClient>(options);
    shelf_ = std::make_unique<RunShelf>(runs());
    handler_ = std::make_unique<ViewHandler>(*client_, monitor_, shelf_.get(),
                                             std::vector<std::string>{"own.example"});
    server_ = std::make_unique<HttpServer>(HttpServerOptions{}, *handler_);
    port_ = server_->listen("127.0.0.1", 0);
    server_->start();
  }

  fs::path runs() const { return folder_.path() / "runs"; }
  void write(const std::string& name, const std::string& text) const {
    fs::create_directories((runs() / name).parent_path());
    std::ofstream(runs() / name) << text;
  }
  Reply ask(std::string_view method, std::string_view target,
            const std::vector<std::string>& fields = {}, std::string_view body = {}) const {
    Client client(port_);
    client.send(request(method, target, body, fields));
    return client.receive(std::chrono::seconds(20), method != "HEAD").value_or(Reply{});
  }
  Reply get(std::string_view target) const { return ask("GET", target); }

  macadam::testing::TemporaryFolder folder_;
  Keeper keeper_;
  HttpServer api_{{}, keeper_};
  Monitor monitor_{[](std::string_view) {}};
  std::unique_ptr<ApiClient> client_;
  std::unique_ptr<RunShelf> shelf_;
  std::unique_ptr<ViewHandler> handler_;
  std::unique_ptr<HttpServer> server_;
  int port_ = 0;
};

TEST_F(ViewHandlerTest, ThePageHasAPolicyAndATag) {
  const Reply page = get("/");
  EXPECT_EQ(page.status, 200);
  EXPECT_EQ(page.field("content-type"), "text/html; charset=utf-8");
  EXPECT_NE(page.field("content-security-policy").find("script-src 'self';"), std::string::npos);
  EXPECT_EQ(page.field("content-security-policy").find("unsafe"), std::string::npos);
  EXPECT_EQ(page.field("x-content-type-options"), "nosniff");
  EXPECT_EQ(page.body.find("<style"), std::string::npos) << "nothing stands in the page itself";
  EXPECT_EQ(page.body.find(" style="), std::string::npos);
  EXPECT_EQ(ask("GET", "/", {"If-None-Match: " + page.field("etag")}).status, 304);
  EXPECT_EQ(ask("HEAD", "/main.js").status, 200);
  EXPECT_EQ(get("/main.js").field("content-type"), "text/javascript; charset=utf-8");
  for (const char* nothing :
       {"/none.js", "/../CMakeLists.txt", "/page/index.html", "/index.html/x"}) {
    EXPECT_EQ(get(nothing).status, 404) << nothing;
  }
  EXPECT_EQ(get("/health").body, "ok\n");
}

TEST_F(ViewHandlerTest, HeadHasTheLengthThatGetHas) {
  for (const char* target : {"/api/v1/images", "/main.js"}) {
    const Reply head = ask("HEAD", target), whole = get(target);
    EXPECT_EQ(head.status, 200);
    EXPECT_EQ(head.field("content-length"), std::to_string(whole.body.size())) << target;
  }
}

TEST_F(ViewHandlerTest, WhatIsForThePageGoesToTheApi) {
  const Reply reply = ask("GET", "/api/v1/images?limit=3",
                          {"Cookie: c", "Authorization: Bearer x", "If-None-Match: \"t\""});
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.field("etag"), "\"e\"");
  EXPECT_EQ(reply.field("set-cookie"), "") << "not one of those that pass";
  EXPECT_NE(reply.field("content-security-policy").find("sandbox"), std::string::npos)
      << "whatever the API answers does not run";
  const auto asked = keeper_.asked();
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(asked[0].target, "/v1/images?limit=3");
  EXPECT_EQ(asked[0].field("If-None-Match"), "\"t\"");
  EXPECT_FALSE(asked[0].field("Cookie"));
  EXPECT_FALSE(asked[0].field("Authorization"));
  EXPECT_EQ(
      ask("POST", "/api/v1/segment/m?confidence=1", {"Content-Type: image/png"}, "abc").status,
      200);
  EXPECT_EQ(keeper_.asked().at(0).body, "abc");
  EXPECT_EQ(get("/api/v2/health/ready").status, 200);
}

TEST_F(ViewHandlerTest, TheRestOfTheApiIsPrivate) {
  for (const char* target :
       {"/api/metrics", "/api/v2/models/m/infer", "/api/v1/../metrics", "/api/v1/%2e%2e/metrics",
        "/api/v1/./x", "/api//v1/models", "/%61pi/v1/models", "/api", "/api/v1",
        "/api/openapi.json", "/API/v1/models"}) {
    EXPECT_EQ(get(target).status, 404) << target;
  }
  EXPECT_EQ(ask("POST", "/api/v1/models", {}, "x").status, 405);
  EXPECT_EQ(ask("DELETE", "/api/v1/models").status, 405);
  EXPECT_EQ(ask("POST", "/", {}, "x").status, 405);
  EXPECT_TRUE(keeper_.asked().empty());
}

TEST_F(ViewHandlerTest, OtherHostsAndOtherSitesAreTurnedAway) {
  const auto raw = [&](const std::string& head) {
    Client client(port_);
    client.send(head + "\r\n\r\n");
    return client.receive().value_or(Reply{}).status;
  };
  EXPECT_EQ(raw("GET / HTTP/1.1\r\nHost: evil.example"), 421);
  EXPECT_EQ(raw("GET /api/v1/models HTTP/1.1\r\nHost: evil.example"), 421);
  EXPECT_EQ(raw("GET / HTTP/1.1\r\nHost: own.example:8081"), 200);
  EXPECT_EQ(raw("GET /health HTTP/1.1\r\nHost: balancer.internal"), 200);
  EXPECT_EQ(ask("POST", "/api/v1/segment", {"Sec-Fetch-Site: cross-site"}, "abc").status, 403);
  EXPECT_EQ(ask("POST", "/api/v1/segment", {"Origin: http://evil.example"}, "abc").status, 403);
  EXPECT_TRUE(keeper_.asked().empty());
}

TEST_F(ViewHandlerTest, RunsAreShown) {
  const auto list = nlohmann::json::parse(get("/runs").body).at("runs");
  ASSERT_EQ(list.size(), 2u) << "a folder without a configuration is no run";
  const auto& good = list[list[0].at("name") == "good" ? 0 : 1];
  const auto& bad = list[list[0].at("name") == "good" ? 1 : 0];
  EXPECT_EQ(bad.at("error"), "this run's files cannot be read");
  EXPECT_EQ(good.at("config").at("network"), "unet_mini");
  EXPECT_EQ(good.at("config").at("loader.threads"), "2");
  EXPECT_EQ(good.at("best_epoch"), 2);
  EXPECT_EQ(good.at("scores").at("miou_present"), 0.5);
  EXPECT_EQ(good.at("samples"), nlohmann::json::array({"a.png"})) << "a link out is left out";
  EXPECT_EQ(good.at("epoch_samples").at("a"), nlohmann::json::array({"0001.png"}));
  const auto history = nlohmann::json::parse(get("/runs/good/history").body).at("epochs");
  ASSERT_EQ(history.size(), 2u);
  EXPECT_EQ(history[1].at("values").at("train_loss"), 1.5);
  EXPECT_EQ(nlohmann::json::parse(get("/runs/good/scores").body).at("classes")[0].at("name"),
            "<b>");
  const Reply report = get("/runs/good/report");
  EXPECT_EQ(report.body, "<p>a report</p>");
  EXPECT_NE(report.field("content-security-policy").find("sandbox"), std::string::npos);
  EXPECT_EQ(get("/runs/good/samples/a.png").body, "not looked at");
  EXPECT_EQ(get("/runs/good/epochs/a/0001.png").body, "an epoch");
}

TEST_F(ViewHandlerTest, NothingBesidesRunsIsShown) {
  for (const char* target :
       {"/runs/none", "/runs/none/report", "/runs/no_run/report", "/runs/good", "/runs/good/x",
        "/runs/good/samples/link.png", "/runs/good/samples/none.png",
        "/runs/good/samples/..%2fa.png", "/runs/good/samples/..%2f..%2f..%2fsecret.png",
        "/runs/..%2fruns/report", "/runs/../secret.png", "/runs/good/epochs/a/0002.png",
        "/runs/good/epochs/..%2f../a.png", "/runs/%2e%2e/report", "/runs/bad/report",
        "/runs/bad/scores"}) {
    const Reply reply = get(target);
    EXPECT_EQ(reply.status, 404) << target;
    EXPECT_EQ(reply.body.find(folder_.path().string()), std::string::npos) << target;
  }
  EXPECT_THROW(RunShelf(folder_ / "nowhere"), InputError);
}

}  // namespace
