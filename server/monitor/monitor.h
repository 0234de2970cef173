#pragma once
// What the server says of itself: a line of its log for each request, and counts.

#include <array>
#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "server/monitor/prometheus.h"
#include "server/service/segmentation.h"

namespace macadam {

/// Takes a line of the log, without its newline: JSON. From any thread; what it cannot write is
/// lost.
using LogSink = std::function<void(std::string_view line)>;

/// Why a request was not done, where the server chose so.
enum class Rejection : uint8_t {
  queue_full,
  deadline,
  abandoned,
  stopping,
  unauthorized,
  malformed_http,  // or too large, or too slow
  memory,
  connections,
  dropped,
};
inline constexpr size_t kRejections = 9;

/// What is told of one answered request.
struct AnsweredRequest {
  std::string id, method, target, route, model, agent, traceparent;
  int status = 0;
  bool refused = false;  // before anything was done for it: its time says nothing
  std::chrono::nanoseconds time{0};
  size_t bytes_in = 0, bytes_out = 0;
};

class Monitor {
 public:
  explicit Monitor(LogSink sink);

  /// A line {"time": ..., "event": event, ...fields}.
  void log(std::string_view event, const nlohmann::ordered_json& fields) const;
  /// Counts and logs.
  void answered(const AnsweredRequest& request);
  void rejected(Rejection why);
  /// Of what was no request that a route could have.
  void faulted(int status, Rejection why);
  /// The stages of a photo that was segmented.
  void segmented(const ServedModel& model, const SegmentationResult& result,
                 std::chrono::nanoseconds encode);

  /// Adds all of it to a page.
  void write(MetricsPage& page) const;

 private:
  struct Stages {
    Histogram queue, decode, infer, encode, batch;
    Stages();
  };

  const LogSink sink_;
  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, uint64_t> requests_;  // by route and status
  std::map<std::string, Histogram> seconds_;                  // by route
  std::array<uint64_t, kRejections> rejections_{};
  std::map<std::pair<std::string, std::string>, Stages> stages_;  // by model and version
};

/// Bytes that this process has in memory; 0 where the system does not say.
uint64_t resident_bytes();
/// Bytes that are allocated and not freed, by the C library's account; 0 where it keeps none. What
/// has not been written to is counted too.
uint64_t allocated_bytes();

}  // namespace macadam
