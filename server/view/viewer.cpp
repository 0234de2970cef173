#include "server/view/viewer.h"

#include <nlohmann/json.hpp>
#include <thread>

#include "base/error.h"
#include "base/to_size.h"
#include "server/service_config.h"
#include "server/view/view_handler.h"

namespace macadam {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds kAskEvery{50};
/// Of answers on their way from the API, and again of those that browsers have not taken.
constexpr size_t kAnswerBytes = size_t{128} << 20;

HttpClientOptions api_options(const ViewConfig& config) {
  HttpClientOptions options;
  options.address = config.api;
  options.token = read_token(config.token_file);
  options.connect_time = in_milliseconds(config.connect_seconds);
  options.answer_time = in_milliseconds(config.answer_seconds);
  options.answer_bytes = options.all_answer_bytes = kAnswerBytes;
  return options;
}

HttpServerOptions http_options(const ViewConfig& config) {
  HttpServerOptions options;
  options.limits.body_bytes = to_size(config.max_body_mb) << 20;
  options.body_budget = std::max<size_t>(size_t{128} << 20, 2 * options.limits.body_bytes);
  options.answer_budget = kAnswerBytes;
  options.connections = to_size(config.connections);
  return options;
}

}  // namespace

class Viewer::Impl {
 public:
  Impl(const ViewConfig& config, LogSink log)
      : config_(config),
        monitor_(std::move(log)),
        runs_(config.runs.empty() ? nullptr : std::make_unique<RunShelf>(config.runs)),
        api_(api_options(config)),
        handler_(api_, monitor_, runs_.get(), config.names),
        http_(std::make_unique<HttpServer>(http_options(config), handler_)) {
    const int port = http_->listen(config.host, config.port);
    address = url_of(config.host, port);
  }
  ~Impl() {
    api_.stop();  // what it was asked is answered 500, while there are connections
    http_.reset();
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void run(const std::function<bool()>& stop) {
    http_->start();
    monitor_.log("listening", {{"address", address}, {"api", config_.api}});
    while (!stop()) std::this_thread::sleep_for(kAskEvery);
    http_->stop();
    http_->wait_until_idle(in_milliseconds(config_.drain_seconds));
    monitor_.log("left", nlohmann::ordered_json::object());
  }

  std::string address;

 private:
  const ViewConfig config_;
  Monitor monitor_;
  std::unique_ptr<RunShelf> runs_;
  ApiClient api_;
  ViewHandler handler_;
  std::unique_ptr<HttpServer> http_;
};

Viewer::Viewer(const ViewConfig& config, LogSink log)
    : impl_(std::make_unique<Impl>(config, std::move(log))) {}
Viewer::~Viewer() = default;

const std::string& Viewer::address() const { return impl_->address; }

void Viewer::run(const std::function<bool()>& stop) { impl_->run(stop); }

}  // namespace macadam
