// A run told to MLflow, and servers that refuse, fall silent or are not there
// (tests/run/tracking_test.py asks MLflow itself).

#include "run/tracking/mlflow.h"

#include <gtest/gtest.h>

#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/http_client.h"
#include "server/http/http_server.h"
#include "tests/base/temporary_folder.h"

using namespace macadam;
using macadam::testing::TemporaryFolder;

namespace {

using Json = nlohmann::json;

/// Answers as MLflow does, and remembers what it was told.
class FakeMlflow : public HttpHandler {
 public:
  struct Asked {
    std::string method, target, body;
  };

  std::optional<HttpResponse> refuse(const HttpRequest&) override { return std::nullopt; }
  void handle(std::shared_ptr<Exchange> exchange) override {
    const HttpRequest& request = exchange->request();
    const std::lock_guard lock(mutex_);
    asked_.push_back({request.method, request.target, request.body});
    exchange->respond(answer(request));
  }
  HttpResponse answer_fault(const RequestFault& fault, const HttpRequest&) override {
    return {fault.status, "text/plain", fault.reason, {}};
  }

  std::vector<Asked> asked(std::string_view part) {
    const std::lock_guard lock(mutex_);
    std::vector<Asked> found;
    for (const Asked& one : asked_) {
      if (one.target.find(part) != std::string::npos) found.push_back(one);
    }
    return found;
  }
  size_t count() {
    const std::lock_guard lock(mutex_);
    return asked_.size();
  }

  bool has_experiment = false;
  int64_t told = 0;     // the epoch that its history of a metric ends with
  std::string refuses;  // requests whose target holds it

 private:
  HttpResponse answer(const HttpRequest& request) const {
    const auto json = [](int status, const Json& body) {
      return HttpResponse{status, "application/json", body.dump(), {}};
    };
    const auto asks = [&](const char* part) {
      return request.target.find(part) != std::string::npos;
    };
    if (!refuses.empty() && asks(refuses.c_str())) {
      return json(400, {{"error_code", "INVALID"}, {"message", "no such thing"}});
    }
    if (asks("get-by-name") && !has_experiment) {
      return json(404, {{"error_code", "RESOURCE_DOES_NOT_EXIST"}});
    }
    if (asks("get-by-name")) return json(200, {{"experiment", {{"experiment_id", "7"}}}});
    if (asks("experiments/create")) return json(200, {{"experiment_id", "8"}});
    if (asks("runs/create")) {
      return json(
          200, {{"run",
                 {{"info",
                   {{"run_id", "abc"}, {"artifact_uri", "mlflow-artifacts:/8/abc/artifacts"}}}}}});
    }
    if (asks("get-history")) {
      return json(200, {{"metrics", {{{"key", "lr"}, {"step", std::to_string(told)}}}}});
    }
    return json(200, Json::object());
  }

  std::mutex mutex_;
  std::vector<Asked> asked_;
};

class MlflowTest : public ::testing::Test {
 protected:
  MlflowTest() : server_({}, mlflow_), port_(server_.listen("127.0.0.1", 0)) {
    if (has_http_client()) server_.start();
  }
  void SetUp() override {
    if (!has_http_client()) GTEST_SKIP() << "this build has no curl";
  }

  std::unique_ptr<Tracker> track(bool resumed = false) {
    return make_mlflow({"http://127.0.0.1:" + std::to_string(port_), "streets & more", "first",
                        folder_.path(), resumed},
                       parameters_, [this](const std::string& line) { notices_.push_back(line); });
  }
  std::string last_status() {
    return Json::parse(mlflow_.asked("runs/update").back().body).at("status");
  }
  static EpochRecord record(int64_t epoch) {
    EpochRecord record;
    record.epoch = epoch;
    record.train_loss = 1.0 / static_cast<double>(epoch);
    record.val_loss = std::numeric_limits<double>::quiet_NaN();
    record.scores = {{"miou_present", 0.25}};
    return record;
  }

  TemporaryFolder folder_;
  FakeMlflow mlflow_;
  HttpServer server_;
  int port_;
  std::vector<TrackedParameter> parameters_{{"network", "unet_mini"}, {"lr", "0.001"}};
  std::vector<std::string> notices_;
};

TEST_F(MlflowTest, IsToldOfTheRun) {
  std::ofstream(folder_ / "report.html") << "<p>";
  {
    const auto run = track();
    EXPECT_EQ(run->known_epoch(), 0);
    for (int64_t epoch = 1; epoch <= 3; ++epoch) {
      run->epoch(record(epoch));
      run->classes(epoch, std::vector<Score>{{"road", 0.75}});
    }
    EXPECT_EQ(run->known_epoch(), 3);
    run->end(TrainingEnd::finished);
  }
  EXPECT_TRUE(notices_.empty());
  EXPECT_EQ(mlflow_.asked("get-by-name").at(0).target,
            "/api/2.0/mlflow/experiments/get-by-name?experiment_name=streets%20%26%20more");
  EXPECT_EQ(Json::parse(mlflow_.asked("experiments/create").at(0).body).at("name"),
            "streets & more");
  const Json made = Json::parse(mlflow_.asked("runs/create").at(0).body);
  EXPECT_EQ(made.at("experiment_id"), "8");
  EXPECT_EQ(made.at("run_name"), "first");
  std::map<std::string, int> metrics;
  size_t parameters = 0;
  for (const auto& asked : mlflow_.asked("log-batch")) {
    const Json body = Json::parse(asked.body);
    EXPECT_EQ(body.at("run_id"), "abc");
    if (body.contains("params")) parameters += body.at("params").size();
    if (!body.contains("metrics")) continue;
    for (const Json& metric : body.at("metrics")) {
      ++metrics[metric.at("key")];
      EXPECT_TRUE(metric.at("value").is_number());
    }
  }
  EXPECT_EQ(parameters, 2u);
  EXPECT_EQ(metrics["train_loss"], 3);
  EXPECT_EQ(metrics["miou_present"], 3);
  EXPECT_EQ(metrics["iou/road"], 3);
  EXPECT_FALSE(metrics.contains("val_loss")) << "it is not a number";
  const auto artifacts = mlflow_.asked("mlflow-artifacts");
  ASSERT_EQ(artifacts.size(), 1u);
  EXPECT_EQ(artifacts[0].method, "PUT");
  EXPECT_EQ(artifacts[0].target, "/api/2.0/mlflow-artifacts/artifacts/8/abc/artifacts/report.html");
  EXPECT_EQ(artifacts[0].body, "<p>");
  EXPECT_EQ(Json::parse(mlflow_.asked("runs/update").at(0).body).at("status"), "FINISHED");
}

TEST_F(MlflowTest, AResumedRunIsTheSameOne) {
  mlflow_.has_experiment = true;
  {
    const auto run = track();
    run->epoch(record(1));
    run->end(TrainingEnd::interrupted);
  }
  EXPECT_EQ(last_status(), "KILLED");
  mlflow_.told = 1;
  const auto again = track(true);
  EXPECT_EQ(again->known_epoch(), 1);
  EXPECT_EQ(mlflow_.asked("runs/create").size(), 1u);
  EXPECT_EQ(Json::parse(mlflow_.asked("runs/update").at(1).body).at("status"), "RUNNING");
  EXPECT_TRUE(notices_.empty());
}

// What was sent and not answered when the process died is told again.
TEST_F(MlflowTest, TheServerSaysWhichEpochsItHas) {
  {
    const auto run = track();
    for (int64_t epoch = 1; epoch <= 3; ++epoch) run->epoch(record(epoch));
  }
  mlflow_.told = 2;
  EXPECT_EQ(track(true)->known_epoch(), 2);
  EXPECT_EQ(mlflow_.asked("get-history").at(0).target,
            "/api/2.0/mlflow/metrics/get-history?run_id=abc&metric_key=lr");
}

TEST_F(MlflowTest, ANewRunOfThatNameIsNoneOfTheOld) {
  track()->fail();
  EXPECT_EQ(last_status(), "FAILED");
  EXPECT_EQ(track()->known_epoch(), 0);
  EXPECT_EQ(mlflow_.asked("runs/create").size(), 2u);
  EXPECT_TRUE(notices_.empty());
}

// A name of other characters, or that is no path, would be refused with all that comes with it.
TEST_F(MlflowTest, ClassesHaveNamesThatItTakes) {
  const std::vector<Score> classes{
      {"Verkehrsschild (groß)", 0.5}, {"a/b", 0.1}, {"a:b", 0.2}, {"..", 0.3}, {"", 0.4},
      {"traffic sign", 0.6}};
  EXPECT_EQ(mlflow_names(classes), (std::vector<std::string>{"Verkehrsschild _gro___", "a_b",
                                                             "a_b_2", ".._", "_", "traffic sign"}));
  track()->classes(1, classes);
  const Json sent = Json::parse(mlflow_.asked("log-batch").back().body).at("metrics");
  ASSERT_EQ(sent.size(), 6u);
  EXPECT_EQ(sent[2].at("key"), "iou/a_b_2");
  EXPECT_EQ(sent[2].at("value"), 0.2);
}

// The last epoch has no later call that would find out.
TEST_F(MlflowTest, ARefusalOfTheLastEpochIsTold) {
  const auto run = track();
  mlflow_.refuses = "log-batch";
  run->epoch(record(1));
  run->end(TrainingEnd::finished);
  ASSERT_EQ(notices_.size(), 1u);
  EXPECT_NE(notices_[0].find("no such thing"), std::string::npos) << notices_[0];
  EXPECT_EQ(last_status(), "FINISHED") << "it has ended all the same";
}

TEST_F(MlflowTest, AServerThatRefusesIsANoticeOnce) {
  for (const char* refused : {"get-by-name", "runs/create", "log-batch", "runs/update"}) {
    SCOPED_TRACE(refused);
    std::filesystem::remove(folder_ / "mlflow.json");
    notices_.clear();
    mlflow_.refuses = refused;
    {
      const auto run = track();
      for (int64_t epoch = 1; epoch <= 3; ++epoch) run->epoch(record(epoch));
      run->end(TrainingEnd::finished);
    }
    ASSERT_EQ(notices_.size(), 1u);
    EXPECT_NE(notices_[0].find("no such thing"), std::string::npos) << notices_[0];
    EXPECT_NE(notices_[0].find("training goes on"), std::string::npos) << notices_[0];
  }
}

TEST_F(MlflowTest, NobodyThereIsANoticeOnce) {
  const auto run = make_mlflow({"http://127.0.0.1:1", "e", "first", folder_.path()}, parameters_,
                               [this](const std::string& line) { notices_.push_back(line); });
  run->epoch(record(1));
  run->end(TrainingEnd::finished);
  ASSERT_EQ(notices_.size(), 1u);
  EXPECT_NE(notices_[0].find("127.0.0.1:1"), std::string::npos) << notices_[0];
}

TEST_F(MlflowTest, AddressesAreLookedAtBeforeAnythingIsWritten) {
  for (const char* address : {"ftp://host", "host:5000", "http://", "http://u:p@host", ""}) {
    EXPECT_THROW(check_mlflow_address(address), InputError) << address;
  }
  EXPECT_NO_THROW(check_mlflow_address("https://mlflow.example.org/prefix"));
}

}  // namespace
