#include "server/monitor/monitor.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <array>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/json_text.h"

namespace macadam {

namespace {

using std::chrono::nanoseconds;

double seconds_of(nanoseconds time) { return std::chrono::duration<double>(time).count(); }

/// What a client may add to the log with one value.
constexpr size_t kLongestValue = 200;

std::string shortened(const std::string& value) {
  return value.size() <= kLongestValue ? value : value.substr(0, kLongestValue) + "...";
}

/// Of Rejection, in its order.
constexpr std::array<const char*, kRejections> kRejectionNames{
    "queue_full",     "deadline", "abandoned",   "stopping", "unauthorized",
    "malformed_http", "memory",   "connections", "dropped"};

}  // namespace

uint64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  uint64_t pages = 0, resident = 0;
  file >> pages >> resident;
  return file ? resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)) : 0;
}

uint64_t allocated_bytes() {
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 33)
  const struct mallinfo2 info = ::mallinfo2();
  return info.uordblks + info.hblkhd;
#else
  return 0;
#endif
}

Monitor::Stages::Stages()
    : queue(latency_bounds()),
      decode(latency_bounds()),
      infer(latency_bounds()),
      encode(latency_bounds()),
      batch(batch_bounds()) {}

Monitor::Monitor(LogSink sink) : sink_(std::move(sink)) {}

void Monitor::log(std::string_view event, const nlohmann::ordered_json& fields) const {
  const auto now =
      std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now());
  const auto whole = std::chrono::time_point_cast<std::chrono::seconds>(now);
  nlohmann::ordered_json line{
      {"time", fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z",
                           fmt::gmtime(std::chrono::system_clock::to_time_t(whole)),
                           (now - whole).count())},
      {"event", std::string(event)}};
  line.update(fields);
  sink_(json_text(line));
}

void Monitor::answered(const AnsweredRequest& request) {
  {
    const std::lock_guard lock(mutex_);
    ++requests_[{request.route, request.status}];
    if (!request.refused) {
      seconds_.try_emplace(request.route, latency_bounds())
          .first->second.add(seconds_of(request.time));
    }
  }
  nlohmann::ordered_json fields{{"id", request.id},
                                {"method", shortened(request.method)},
                                {"target", shortened(request.target)},
                                {"status", request.status},
                                {"ms", std::round(seconds_of(request.time) * 1e6) / 1e3},
                                {"bytes_in", request.bytes_in},
                                {"bytes_out", request.bytes_out}};
  if (!request.model.empty()) fields["model"] = request.model;
  if (!request.agent.empty()) fields["agent"] = shortened(request.agent);
  if (!request.traceparent.empty()) fields["traceparent"] = shortened(request.traceparent);
  log("request", fields);
}

void Monitor::rejected(Rejection why) {
  const std::lock_guard lock(mutex_);
  ++rejections_[static_cast<size_t>(why)];
}

void Monitor::faulted(int status, Rejection why) {
  const std::lock_guard lock(mutex_);
  ++requests_[{"none", status}];
  ++rejections_[static_cast<size_t>(why)];
}

void Monitor::segmented(const ServedModel& model, const SegmentationResult& result,
                        nanoseconds encode) {
  const std::lock_guard lock(mutex_);
  Stages& stages = stages_[{model.name(), model.version()}];
  stages.queue.add(seconds_of(result.queue));
  stages.decode.add(seconds_of(result.decode));
  stages.infer.add(seconds_of(result.infer));
  stages.encode.add(seconds_of(encode));
  stages.batch.add(result.batch);
}

void Monitor::write(MetricsPage& page) const {
  const std::lock_guard lock(mutex_);
  page.metric("macadam_requests_total", "counter", "Answered requests.");
  for (const auto& [key, count] : requests_) {
    page.value({{"route", key.first}, {"status", std::to_string(key.second)}}, count);
  }
  page.metric("macadam_request_seconds", "histogram",
              "From a request's last byte to the first of its answer.");
  for (const auto& [route, histogram] : seconds_) page.histogram({{"route", route}}, histogram);
  page.metric("macadam_rejections_total", "counter", "Requests that were turned away, by reason.");
  for (size_t i = 0; i < kRejections; ++i) {
    page.value({{"reason", kRejectionNames[i]}}, rejections_[i]);
  }
  const auto histograms = [&](const char* name, const char* help, Histogram Stages::*stage) {
    page.metric(name, "histogram", help);
    for (const auto& [key, stages] : stages_) {
      page.histogram({{"model", key.first}, {"version", key.second}}, stages.*stage);
    }
  };
  histograms("macadam_queue_seconds", "A photo's wait for the network.", &Stages::queue);
  histograms("macadam_decode_seconds", "Decoding and resizing a photo.", &Stages::decode);
  histograms("macadam_infer_seconds", "The network, on a photo's batch.", &Stages::infer);
  histograms("macadam_encode_seconds", "Making an answer of a mask.", &Stages::encode);
  histograms("macadam_batch_size", "Photos that the network saw together.", &Stages::batch);
  page.metric("macadam_uptime_seconds", "gauge", "Since the start.");
  page.value({}, seconds_of(std::chrono::steady_clock::now() - started_));
  page.metric("macadam_resident_bytes", "gauge", "Memory of the process.");
  page.value({}, resident_bytes());
  page.metric("macadam_allocated_bytes", "gauge",
              "Of it what is in use; the rest waits to be used again.");
  page.value({}, allocated_bytes());
}

}  // namespace macadam
