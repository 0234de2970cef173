#include "server/inference_server.h"

#include <algorithm>
#include <atomic>
#include <future>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/cores.h"
#include "base/error.h"
#include "base/freed_memory.h"
#include "base/to_size.h"
#include "engine/plan/precision.h"
#include "server/api/api.h"
#include "server/http/http_server.h"
#include "server/monitor/idle_memory.h"
#include "server/service/gallery.h"
#include "server/service/model_registry.h"
#include "server/service/segmentation.h"
#include "server/service_config.h"

namespace macadam {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds kAskEvery{50};

std::vector<ModelSpec> specs_of(const ServeConfig& config) {
  if (config.models.empty()) {
    throw InputError("no model is given", "serve", "name a model file, or the folder of a run");
  }
  std::vector<ModelSpec> specs;
  for (const std::string& model : config.models) specs.push_back(parse_model_spec(model));
  return specs;
}

ServedModelOptions model_options(const ServeConfig& config) {
  ServedModelOptions options;
  options.device = parse_device(config.device);
  options.precision = config.precision;
  resolve_precision(config.precision, device_info(options.device));  // refused at once
  options.replicas = config.replicas;
  options.max_batch = config.max_batch;
  options.threads = config.threads;
  options.memory_limit = to_size(config.memory_limit_mb) << 20;
  return options;
}

SegmentationOptions segmentation_options(const ServeConfig& config) {
  SegmentationOptions options;
  options.batches = {config.replicas, config.max_batch,
                     std::chrono::microseconds(static_cast<int64_t>(config.max_delay_ms * 1000))};
  options.threads = config.threads > 0 ? config.threads : usable_cores();
  options.memory = to_size(config.work_memory_mb) << 20;
  options.windows = config.max_windows;
  options.limits.max_pixels = static_cast<int64_t>(config.max_megapixels * 1e6);
  return options;
}

ApiOptions api_options(const ServeConfig& config) {
  ApiOptions options;
  options.queue = config.queue;
  options.deadline = milliseconds(config.deadline_ms);
  options.body_bytes = to_size(config.max_body_mb) << 20;
  options.token = read_token(config.token_file);
  return options;
}

HttpServerOptions http_options(const ServeConfig& config) {
  HttpServerOptions options;
  options.limits.body_bytes = to_size(config.max_body_mb) << 20;
  options.body_budget = std::max<size_t>(size_t{256} << 20, 4 * options.limits.body_bytes);
  options.answer_budget = to_size(config.answer_memory_mb) << 20;
  options.threads = config.io_threads;
  options.connections = to_size(config.connections);
  options.idle_time = in_milliseconds(config.idle_seconds);
  options.request_time = in_milliseconds(config.request_seconds);
  options.response_time = in_milliseconds(config.response_seconds);
  return options;
}

}  // namespace

class InferenceServer::Impl {
 public:
  Impl(const ServeConfig& config, LogSink log)
      : config_(config),
        monitor_(std::move(log)),
        models_(specs_of(config), model_options(config),
                [this](std::string_view event, const ModelSpec& spec, std::string_view detail) {
                  monitor_.log(event, {{"model", spec.name},
                                       {"version", spec.version},
                                       {"file", spec.file.string()},
                                       {"detail", std::string(detail)}});
                }),
        gallery_(config.gallery.empty() ? nullptr : std::make_unique<Gallery>(config.gallery)),
        segmentation_(segmentation_options(config)),
        api_(models_, segmentation_, monitor_, gallery_.get(), api_options(config)),
        http_(std::make_unique<HttpServer>(http_options(config), api_)) {
    if (config.unix_socket.empty()) {
      const int port = http_->listen(config.host, config.port);
      address = url_of(config.host, port);
    } else {
      http_->listen(std::filesystem::path(config.unix_socket));
      address = config.unix_socket;
    }
    if (gallery_ && gallery_->left_out() > 0) {
      monitor_.log("photos left out: they lie outside the gallery's folder",
                   {{"count", gallery_->left_out()}});
    }
  }

  ~Impl() {
    models_.stop();
    segmentation_.stop();  // answers what waits, while there are connections
    http_.reset();
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void run(const std::function<bool()>& stop, const std::function<void()>& ready) {
    http_->start();
    monitor_.log("listening", {{"address", address}});
    std::future<void> loading = std::async(std::launch::async, [this] { models_.load(); });
    while (loading.wait_for(kAskEvery) != std::future_status::ready) {
      if (stop()) models_.stop();
    }
    loading.get();
    if (models_.ready()) {
      models_.watch();
      monitor_.log("ready", {{"address", address}});
      ready();
      while (!stop()) {
        std::this_thread::sleep_for(kAskEvery);
        if (idle_.due(api_.begun(), api_.working(), IdleMemory::Clock::now())) {
          give_back_freed_memory();
        }
      }
    }
    leave();
  }

  std::string address;

 private:
  void leave() {
    api_.leave();
    monitor_.log("leaving", {{"working", api_.working()}});
    const auto grace = std::chrono::steady_clock::now() + in_milliseconds(config_.grace_seconds);
    while (std::chrono::steady_clock::now() < grace) std::this_thread::sleep_for(kAskEvery);
    http_->stop();
    const bool idle = http_->wait_until_idle(in_milliseconds(config_.drain_seconds));
    monitor_.log("left", {{"unanswered", idle ? 0 : api_.working()}});
  }

  const ServeConfig config_;
  Monitor monitor_;
  ModelRegistry models_;
  std::unique_ptr<Gallery> gallery_;
  Segmentation segmentation_;
  Api api_;
  IdleMemory idle_;
  std::unique_ptr<HttpServer> http_;
};

InferenceServer::InferenceServer(const ServeConfig& config, LogSink log)
    : impl_(std::make_unique<Impl>(config, std::move(log))) {}
InferenceServer::~InferenceServer() = default;

const std::string& InferenceServer::address() const { return impl_->address; }

void InferenceServer::run(const std::function<bool()>& stop, const std::function<void()>& ready) {
  impl_->run(stop, ready);
}

}  // namespace macadam
