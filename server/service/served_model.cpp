#include "server/service/served_model.h"

#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "base/files.h"
#include "base/to_size.h"
#include "engine/plan/precision.h"
#include "models/loaded_model.h"

namespace macadam {

namespace {

/// FNV-1a of the file's bytes: tells files apart, and protects against nothing.
std::string digest_of(const std::filesystem::path& file) {
  constexpr size_t kMostBytes = size_t{1} << 40;
  const FileBytes content(file, kMostBytes);
  uint64_t hash = 0xcbf29ce484222325;
  for (const std::byte byte : content.bytes()) {
    hash = (hash ^ static_cast<uint64_t>(byte)) * 0x100000001b3;
  }
  return fmt::format("{:016x}", hash);
}

/// For one photo, and for 2, 4, ... of them up to `max_batch`.
std::vector<Graph> graphs_of(const LoadedModel& model, int max_batch) {
  const int height = model.info().height, width = model.info().width;
  std::vector<Graph> graphs{model.graph(1, height, width)};
  for (int batch = 2; batch < 2 * max_batch; batch *= 2) {
    graphs.push_back(model.graph(std::min(batch, max_batch), height, width));
  }
  return graphs;
}

}  // namespace

struct ServedModel::Replica {
  Replica(const std::filesystem::path& file, const ServedModelOptions& options)
      : context(options.device),
        model(file, context.stream),
        dtype(resolve_precision(options.precision, device_info(options.device))),
        predictor(at_size_of(model.info(), file, [&] {
          return Predictor(graphs_of(model, options.max_batch), model.parameters(), context,
                           {dtype, model.info().normalization, false, true});
        })) {}

  DeviceContext context;
  LoadedModel model;
  DType dtype;
  Predictor predictor;
};

ServedModel::ServedModel(std::string name, std::string version, const std::filesystem::path& file,
                         const ServedModelOptions& options)
    : name_(std::move(name)),
      version_(std::move(version)),
      options_(options),
      digest_(digest_of(file)) {
  for (int i = 0; i < options.replicas; ++i) {
    replicas_.push_back(std::make_unique<Replica>(file, options));
    if (options.memory_limit > 0 && bytes() > options.memory_limit) {
      throw InputError(fmt::format("the model needs more than the memory limit ({} of {} MiB)",
                                   bytes() >> 20, options.memory_limit >> 20),
                       file.string(), "raise --memory-limit, or lower --max-batch and --replicas");
    }
  }
  warm_up();
}

ServedModel::~ServedModel() = default;

const ModelInfo& ServedModel::info() const { return replicas_.front()->model.info(); }

std::string_view ServedModel::precision() const { return precision_name(replicas_.front()->dtype); }

size_t ServedModel::bytes() const {
  size_t bytes = 0;
  for (const auto& replica : replicas_) bytes += replica->predictor.bytes();
  return bytes;
}

void ServedModel::warm_up() {
  const auto values = to_size(info().height) * to_size(info().width) * 3;
  const std::vector<uint8_t> gray(values, 128);
  constexpr int kRuns = 3;  // CUDA records a graph in the second run
  for (size_t r = 0; r < replicas_.size(); ++r) {
    for (int batch = 1; batch < 2 * options_.max_batch; batch *= 2) {
      const int count = std::min(batch, options_.max_batch);
      std::vector<Prediction> predictions(to_size(count));
      std::vector<PredictionTask> tasks;
      tasks.reserve(predictions.size());
      for (Prediction& prediction : predictions) {
        // Another size than the network's: the longer way to a mask.
        tasks.push_back({{gray, info().height, info().width},
                         info().height + 1,
                         info().width,
                         {false, true, false},
                         &prediction});
      }
      for (int i = 0; i < kRuns; ++i) replicas_[r]->predictor.run(tasks);
    }
  }
}

void ServedModel::run(int replica, std::span<const PredictionTask> tasks) {
  make_current(options_.device);
  if (options_.threads > 0) omp_set_num_threads(options_.threads);  // of this thread's teams
  replicas_.at(to_size(replica))->predictor.run(tasks);
}

ModelStatistics ServedModel::statistics() const {
  const std::lock_guard lock(mutex_);
  return statistics_;
}

void ServedModel::count_batch(int size, uint64_t nanoseconds) {
  using std::chrono::system_clock;
  const auto now =
      std::chrono::duration_cast<std::chrono::milliseconds>(system_clock::now().time_since_epoch());
  const std::lock_guard lock(mutex_);
  ModelStatistics& all = statistics_;
  ++all.executions;
  all.images += static_cast<uint64_t>(size);
  all.last_inference = now.count();
  auto found = std::ranges::find(all.batches, size, &ModelStatistics::Batches::size);
  if (found == all.batches.end()) found = all.batches.insert(found, {size, {}});
  ++found->infer.count;
  found->infer.nanoseconds += nanoseconds;
}

}  // namespace macadam
