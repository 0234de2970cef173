#include "server/service/served_model.h"

#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <set>

#include "base/cores.h"
#include "base/error.h"
#include "base/files.h"
#include "base/fnv.h"
#include "base/to_size.h"
#include "engine/plan/precision.h"
#include "models/loaded_model.h"

namespace macadam {

namespace {

std::string digest_of(const std::filesystem::path& file) {
  constexpr size_t kMostBytes = size_t{1} << 40;
  const FileBytes content(file, kMostBytes);
  return fmt::format("{:016x}", fnv1a(content.bytes()));
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

struct ServedModel::Network {
  Network(const std::filesystem::path& file, const ServedModelOptions& options)
      : stream(options.device),
        model(file, stream),
        dtype(resolve_precision(options.precision, device_info(options.device))),
        weights(model.parameters(), dtype, options.device) {}

  Stream stream;
  LoadedModel model;
  DType dtype;
  PackedWeights weights;
};

struct ServedModel::Replica {
  Replica(Network& network, const ServedModelOptions& options)
      : context(options.device),
        predictor(at_size_of(network.model.info(), network.model.file(), [&] {
          return Predictor(
              graphs_of(network.model, options.max_batch), network.model.parameters(), context,
              {network.dtype, network.model.info().normalization, false, true, &network.weights});
        })) {}

  DeviceContext context;
  Predictor predictor;
};

ServedModel::ServedModel(std::string name, std::string version, const std::filesystem::path& file,
                         const ServedModelOptions& options)
    : name_(std::move(name)),
      version_(std::move(version)),
      options_(options),
      digest_(digest_of(file)) {
  use_threads();  // oneDNN fixes a primitive's team when it is made
  network_ = std::make_unique<Network>(file, options);
  for (int i = 0; i < options.replicas; ++i) {
    replicas_.push_back(std::make_unique<Replica>(*network_, options));
    if (options.memory_limit > 0 && bytes() > options.memory_limit) {
      throw InputError(fmt::format("the model needs more than the memory limit ({} of {} MiB)",
                                   bytes() >> 20, options.memory_limit >> 20),
                       file.string(), "raise --memory-limit, or lower --max-batch and --replicas");
    }
  }
  for (const auto& replica : replicas_) warm_up(*replica);
}

ServedModel::~ServedModel() = default;

const ModelInfo& ServedModel::info() const { return network_->model.info(); }

std::string_view ServedModel::precision() const { return precision_name(network_->dtype); }

size_t ServedModel::bytes() const {
  std::set<const Buffer*> memory;
  for (const auto& replica : replicas_) replica->predictor.add_memory(memory);
  return bytes_of(memory);
}

void ServedModel::warm_up(Replica& replica) const {
  replica.predictor.warm_up();
  // And what brings scores to a photo's size: of one resized, and of one that is mirrored too.
  const int height = info().height, width = info().width;
  const std::vector<uint8_t> gray(to_size(height) * to_size(width) * 3, 128);
  Prediction prediction;
  for (const bool flip : {false, true}) {
    const PredictionTask task{
        {gray, height, width}, height + 1, width, {flip, true, true}, &prediction};
    replica.predictor.run({&task, 1});
  }
}

void ServedModel::use_threads() const {
  if (options_.threads > 0) omp_set_num_threads(options_.threads);  // of the calling thread's teams
}

void ServedModel::run(int replica, std::span<const PredictionTask> tasks) {
  make_current(options_.device);
  use_threads();
  if (options_.device.kind == DeviceKind::cpu && options_.replicas == 1) spread_team();
  replicas_.at(to_size(replica))->predictor.run(tasks);
}

ModelStatistics ServedModel::statistics() const {
  const std::lock_guard lock(mutex_);
  return statistics_;
}

void ServedModel::count_request(const std::optional<StageTimes>& stages,
                                std::chrono::nanoseconds whole) {
  const auto add = [](ModelStatistics::Sum& sum, std::chrono::nanoseconds time) {
    ++sum.count;
    sum.nanoseconds += static_cast<uint64_t>(time.count());
  };
  const std::lock_guard lock(mutex_);
  if (!stages) return add(statistics_.failure, whole);
  add(statistics_.success, whole);
  add(statistics_.queue, stages->queue);
  add(statistics_.decode, stages->decode);
  add(statistics_.infer, stages->infer);
  add(statistics_.encode, stages->encode);
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
