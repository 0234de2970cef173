#pragma once
// A model file on a device, ready to see photos.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/infer/predictor.h"
#include "engine/model/model_info.h"
#include "kernels/device.h"

namespace macadam {

struct ServedModelOptions {
  Device device;
  std::string precision = "auto";
  int replicas = 1;         // that run at once
  int max_batch = 1;        // photos that a replica sees at once, at most 64
  int threads = 0;          // cores of a replica's network; 0: all
  size_t memory_limit = 0;  // bytes on the device, of all that the model needs; 0: none
};

/// Where the time of a request's slowest photo went.
struct StageTimes {
  std::chrono::nanoseconds queue{0}, decode{0}, infer{0}, encode{0};
};

/// What happened to a version of a model, in its life, as Triton's statistics extension has it.
/// Times in nanoseconds, sums over requests; but `images` are photos, and `infer` of batches
/// theirs.
struct ModelStatistics {
  struct Sum {
    uint64_t count = 0, nanoseconds = 0;
  };
  /// Batches of one size.
  struct Batches {
    int size = 0;
    Sum infer;
  };
  Sum success, failure, queue, decode, infer, encode;
  uint64_t images = 0, executions = 0;
  int64_t last_inference = 0;  // milliseconds since 1970; 0: none yet
  std::vector<Batches> batches;
};

class ServedModel {
 public:
  /// Loads the file, makes the plans of all batches and runs each until it is at full speed. Throws
  /// InputError naming the file when it is not a model, does not fit into the memory or above the
  /// limit.
  ServedModel(std::string name, std::string version, const std::filesystem::path& file,
              const ServedModelOptions& options);
  ~ServedModel();
  ServedModel(const ServedModel&) = delete;
  ServedModel& operator=(const ServedModel&) = delete;

  const std::string& name() const { return name_; }
  const std::string& version() const { return version_; }
  const ModelInfo& info() const;
  int classes() const { return static_cast<int>(info().class_names.size()); }
  /// Tells files of different content apart: 16 hexadecimal digits.
  const std::string& digest() const { return digest_; }
  int max_batch() const { return options_.max_batch; }
  const ServedModelOptions& options() const { return options_; }
  std::string_view precision() const;
  /// On the device: activations, images and masks of each replica, and packed weights, which they
  /// share.
  size_t bytes() const;

  /// Predictor::run(), by replica number `replica`. One thread a replica at a time.
  void run(int replica, std::span<const PredictionTask> tasks);

  ModelStatistics statistics() const;
  /// Adds a request: that failed, where it has no stages.
  void count_request(const std::optional<StageTimes>& stages, std::chrono::nanoseconds whole);
  /// Adds a batch.
  void count_batch(int size, uint64_t nanoseconds);

 private:
  struct Network;
  struct Replica;

  void use_threads() const;
  void warm_up(Replica& replica) const;

  const std::string name_, version_;
  const ServedModelOptions options_;
  std::string digest_;
  std::unique_ptr<Network> network_;  // what replicas share
  std::vector<std::unique_ptr<Replica>> replicas_;
  mutable std::mutex mutex_;
  ModelStatistics statistics_;
};

}  // namespace macadam
