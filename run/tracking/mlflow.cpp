#include "run/tracking/mlflow.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/http_client.h"
#include "base/json_text.h"
#include "base/text.h"
#include "base/version.h"

namespace macadam {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr const char* kState = "mlflow.json";
constexpr const char* kInterface = "/api/2.0/mlflow/";
constexpr size_t kMaxStateBytes = 1 << 16, kMaxArtifactBytes = size_t{64} << 20;
constexpr size_t kLongestParameter = 500;  // bytes; more is refused by older servers
constexpr size_t kParametersAtOnce = 100;
constexpr size_t kLongestName = 200;       // bytes, of a class; a metric's may have 250
constexpr const char* kEveryEpoch = "lr";  // a metric that is always a number

int64_t milliseconds_now() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

HttpClientOptions client_options(const std::string& address) {
  HttpClientOptions options;
  options.address = address;
  options.answer_time = std::chrono::seconds(20);
  if (const char* token = std::getenv("MLFLOW_TRACKING_TOKEN")) options.token = token;
  return options;
}

/// What the server refuses, or why it does not answer; "" where all is well.
std::string complaint(const HttpAnswer& answer) {
  if (answer.outcome != HttpAnswer::Outcome::answered) {
    return answer.reason.empty() ? "it does not answer" : answer.reason;
  }
  if (answer.status == 200) return "";
  const Json body = Json::parse(answer.body, nullptr, false);
  const bool says = body.is_object() && body.contains("message") && body["message"].is_string();
  return says ? body["message"].get<std::string>() : fmt::format("status {}", answer.status);
}

std::string text_at(const Json& value, std::initializer_list<const char*> keys) {
  const Json* at = &value;
  for (const char* key : keys) {
    if (!at->is_object() || !at->contains(key)) return "";
    at = &(*at)[key];
  }
  return at->is_string() ? at->get<std::string>() : "";
}

/// RFC 3986's percent-encoding of a value in a query.
std::string url_escaped(std::string_view text) {
  std::string escaped;
  for (const char byte : text) {
    const auto c = static_cast<unsigned char>(byte);
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       c == '-' || c == '_' || c == '.' || c == '~';
    escaped += plain ? std::string(1, byte) : fmt::format("%{:02X}", c);
  }
  return escaped;
}

/// A failure of the server, which ends all talk with it.
class MlflowError : public RunError {
 public:
  MlflowError(const std::string& what, const std::string& where) : RunError(what, where, "") {}
};

class Mlflow final : public Tracker {
 public:
  Mlflow(const MlflowOptions& options, std::span<const TrackedParameter> parameters,
         std::function<void(const std::string&)> notice)
      : options_(options), notice_(std::move(notice)), client_(client_options(options.address)) {
    attempt([&] { begin(parameters); });
  }
  ~Mlflow() override { wait(); }

  int64_t known_epoch() const override { return known_epoch_; }

  void update(int64_t, double, double) override {}

  void epoch(const EpochRecord& record) override {
    std::vector<Score> metrics{{"train_loss", record.train_loss},
                               {"val_loss", record.val_loss},
                               {"lr", record.lr},
                               {"seconds", record.seconds},
                               {"images_per_second", record.images_per_second}};
    metrics.insert(metrics.end(), record.terms.begin(), record.terms.end());
    metrics.insert(metrics.end(), record.scores.begin(), record.scores.end());
    attempt([&] { send(record.epoch, metrics); });
    known_epoch_ = record.epoch;
  }

  void classes(int64_t epoch, std::span<const Score> ious) override {
    std::vector<Score> metrics(ious.begin(), ious.end());
    const std::vector<std::string> names = mlflow_names(ious);
    for (size_t i = 0; i < metrics.size(); ++i) metrics[i].name = "iou/" + names[i];
    attempt([&] { send(epoch, metrics); });
  }

  void pictures(int64_t, std::span<const TrackedPicture>) override {}

  void recover(int64_t, int64_t) override {}

  void end(TrainingEnd end) override {
    close(end == TrainingEnd::interrupted ? "KILLED" : "FINISHED", end != TrainingEnd::interrupted);
  }
  void fail() override { close("FAILED", false); }

 private:
  /// Says how the run ended, and then what was refused on the way.
  void close(const char* status, bool with_files) {
    const HttpQuestion end =
        question("POST", "runs/update",
                 {{"run_id", run_}, {"status", status}, {"end_time", milliseconds_now()}});
    wait();
    if (failed_ && !run_.empty())
      client_.ask(end);  // should it answer again, it knows that at least
    attempt([&] {
      if (with_files) {
        for (const char* file : {"report.html", "config.toml", "scores.json"}) upload(file);
      }
      checked(client_.ask(end));
      check_sent();
    });
  }

  void begin(std::span<const TrackedParameter> parameters) {
    if (options_.resumed) read_state();
    if (!run_.empty()) {
      ask("POST", "runs/update", {{"run_id", run_}, {"status", "RUNNING"}});
      known_epoch_ = told_epoch();
      return;
    }
    const Json made = ask("POST", "runs/create",
                          {{"experiment_id", experiment()},
                           {"run_name", options_.name},
                           {"start_time", milliseconds_now()},
                           {"tags",
                            {{{"key", "mlflow.runName"}, {"value", options_.name}},
                             {{"key", "mlflow.source.name"}, {"value", "macadam"}},
                             {{"key", "macadam.version"}, {"value", std::string(version())}}}}});
    run_ = text_at(made, {"run", "info", "run_id"});
    artifacts_ = text_at(made, {"run", "info", "artifact_uri"});
    if (run_.empty()) throw MlflowError("the server made no run", options_.address);
    write_state();
    for (size_t first = 0; first < parameters.size(); first += kParametersAtOnce) {
      Json list = Json::array();
      for (const auto& [key, value] :
           parameters.subspan(first, std::min(kParametersAtOnce, parameters.size() - first))) {
        list.push_back({{"key", key}, {"value", value.substr(0, kLongestParameter)}});
      }
      ask("POST", "runs/log-batch", {{"run_id", run_}, {"params", std::move(list)}});
    }
  }

  /// The last epoch that the server has a metric of: what was on its way to it when a process died
  /// is in nobody's books.
  int64_t told_epoch() {
    const Json history =
        ask("GET", "metrics/get-history?run_id=" + url_escaped(run_) + "&metric_key=" + kEveryEpoch,
            {});
    int64_t epoch = 0;
    if (!history.is_object() || !history.contains("metrics")) return epoch;
    for (const Json& metric : history["metrics"]) {
      if (!metric.is_object() || !metric.contains("step")) continue;
      const Json& step = metric["step"];  // protobuf's JSON has 64 bits as text
      if (step.is_number_integer()) epoch = std::max(epoch, step.get<int64_t>());
      if (step.is_string()) {
        epoch = std::max(epoch, int64_t{std::atoll(step.get<std::string>().c_str())});
      }
    }
    return epoch;
  }

  /// The experiment's number.
  std::string experiment() {
    const HttpAnswer answer = client_.ask(question(
        "GET", "experiments/get-by-name?experiment_name=" + url_escaped(options_.experiment), {}));
    if (answer.outcome == HttpAnswer::Outcome::answered && answer.status == 404) {
      return text_at(ask("POST", "experiments/create", {{"name", options_.experiment}}),
                     {"experiment_id"});
    }
    return text_at(checked(answer), {"experiment", "experiment_id"});
  }

  void read_state() {
    const fs::path file = options_.folder / kState;
    if (!fs::exists(file)) return;
    const Json state = Json::parse(read_file(file, kMaxStateBytes), nullptr, false);
    if (text_at(state, {"address"}) != options_.address) return;  // a run of another server
    run_ = text_at(state, {"run_id"});
    artifacts_ = text_at(state, {"artifact_uri"});
  }
  void write_state() const {
    const Json state{{"address", options_.address}, {"run_id", run_}, {"artifact_uri", artifacts_}};
    write_file_atomically(options_.folder / kState, json_text(state) + "\n");
  }

  static HttpQuestion question(const char* method, const std::string& target, const Json& body) {
    HttpQuestion asked{method, kInterface + target, {}, "", {}};
    if (!body.is_null()) {
      asked.body = json_text(body);
      asked.fields = {{"Content-Type", "application/json"}};
    }
    return asked;
  }

  Json checked(const HttpAnswer& answer) const {
    const std::string wrong = complaint(answer);
    if (!wrong.empty()) throw MlflowError("MLflow: " + wrong, options_.address);
    return Json::parse(answer.body, nullptr, false);
  }
  /// Waits for the answer.
  Json ask(const char* method, const std::string& target, const Json& body) {
    return checked(client_.ask(question(method, target, body)));
  }

  /// Does not wait: what is refused is known at the next call.
  void send(int64_t epoch, std::span<const Score> values) {
    Json metrics = Json::array();
    for (const Score& score : values) {
      if (!std::isfinite(score.value)) continue;
      metrics.push_back({{"key", score.name},
                         {"value", score.value},
                         {"timestamp", milliseconds_now()},
                         {"step", epoch}});
    }
    check_sent();
    {
      const std::lock_guard lock(mutex_);
      ++waiting_;
    }
    client_.ask(
        question("POST", "runs/log-batch", {{"run_id", run_}, {"metrics", std::move(metrics)}}),
        [this](const HttpAnswer& answer) {
          const std::lock_guard lock(mutex_);
          if (refused_.empty()) refused_ = complaint(answer);
          --waiting_;
          answered_.notify_all();
        });
  }

  /// Throws MlflowError when something that was sent has been refused.
  void check_sent() {
    const std::lock_guard lock(mutex_);
    if (!refused_.empty()) throw MlflowError("MLflow: " + refused_, options_.address);
  }

  void wait() {
    std::unique_lock lock(mutex_);
    answered_.wait(lock, [this] { return waiting_ == 0; });
  }

  /// By the server's own store of artifacts, where it has one.
  void upload(const std::string& name) {
    constexpr std::string_view kStore = "mlflow-artifacts:/";
    const fs::path file = options_.folder / name;
    if (!artifacts_.starts_with(kStore) || !fs::exists(file)) return;
    HttpQuestion asked{"PUT",
                       "/api/2.0/mlflow-artifacts/artifacts/" +
                           artifacts_.substr(artifacts_.find_first_not_of('/', kStore.size())) +
                           "/" + name,
                       {{"Content-Type", "application/octet-stream"}},
                       read_file(file, kMaxArtifactBytes),
                       {}};
    checked(client_.ask(std::move(asked)));
  }

  /// Once it has failed nothing is sent any more.
  template <typename Talk>
  void attempt(const Talk& talk) {
    if (failed_) return;
    try {
      talk();
    } catch (const RunError& error) {
      failed_ = true;
      notice_(fmt::format("{}; training goes on without it", error.what()));
    }
  }

  const MlflowOptions options_;
  std::function<void(const std::string&)> notice_;
  std::string run_, artifacts_;
  int64_t known_epoch_ = 0;
  bool failed_ = false;
  std::mutex mutex_;
  std::condition_variable answered_;
  size_t waiting_ = 0;   // metrics on their way
  std::string refused_;  // why some were
  HttpClient client_;    // the first to go: its thread uses the others
};

}  // namespace

std::vector<std::string> mlflow_names(std::span<const Score> classes) {
  std::set<std::string> taken;
  std::vector<std::string> names;
  for (const Score& score : classes) {
    std::string name;
    for (const char c : score.name.substr(0, kLongestName)) {
      const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                         (c >= 'A' && c <= 'Z') || c == '_' || c == '-' || c == '.' || c == ' ';
      name += plain ? c : '_';
    }
    // The server takes names for paths, which "." and ".." would shorten.
    if (name.find_first_not_of('.') == std::string::npos) name += '_';
    std::string own = name;
    for (int n = 2; !taken.insert(own).second; ++n) own = fmt::format("{}_{}", name, n);
    names.push_back(std::move(own));
  }
  return names;
}

void check_mlflow_address(const std::string& address) {
  const HttpClient client(client_options(address));
}

std::unique_ptr<Tracker> make_mlflow(const MlflowOptions& options,
                                     std::span<const TrackedParameter> parameters,
                                     std::function<void(const std::string&)> notice) {
  return std::make_unique<Mlflow>(options, parameters, std::move(notice));
}

}  // namespace macadam
