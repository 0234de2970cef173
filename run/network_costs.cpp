#include "run/network_costs.h"

#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "base/to_size.h"
#include "engine/graph/rewrite.h"
#include "engine/infer/predictor.h"
#include "run/timing.h"

namespace macadam {

namespace {

/// A network at work on one photo.
class TimedNetwork {
 public:
  TimedNetwork(const NetworkSpec& spec, int height, int width, Device device, DType dtype)
      : height_(height),
        width_(width),
        photo_(photo_to_time(height, width)),
        context_(device),
        graph_(remove_auxiliary_outputs(build_network(spec, {1, height, width, 3}))),
        parameters_(graph_.parameters(), context_.stream, false) {
    parameters_.initialize(1);
    PredictorOptions options;
    options.dtype = dtype;
    predictor_.emplace(graph_, parameters_, context_, options);
  }

  const Graph& graph() const { return graph_; }
  size_t bytes() const { return predictor_->bytes(); }
  void run() {
    const PhotoView view{photo_, height_, width_};
    predictor_->run({&view, 1}, height_, width_, false, prediction_);
  }

 private:
  int height_, width_;
  std::vector<uint8_t> photo_;
  DeviceContext context_;
  Graph graph_;
  Parameters parameters_;
  std::optional<Predictor> predictor_;
  Prediction prediction_;
};

double mib(size_t bytes) { return static_cast<double>(bytes) / (1024.0 * 1024.0); }

double giga(int64_t count) { return static_cast<double>(count) * 1e-9; }

}  // namespace

std::vector<NetworkCost> network_costs(std::span<const NetworkSpec> specs, int height, int width,
                                       Device device, DType dtype, int rounds) {
  for (const NetworkSpec& spec : specs) find_segmentation_network(spec.name);
  std::vector<std::unique_ptr<TimedNetwork>> networks;
  std::vector<std::function<void()>> calls;
  std::vector<NetworkCost> costs;
  for (const NetworkSpec& spec : specs) {
    networks.push_back(std::make_unique<TimedNetwork>(spec, height, width, device, dtype));
    const TimedNetwork& network = *networks.back();
    calls.emplace_back([timed = networks.back().get()] { timed->run(); });
    NetworkCost cost;
    cost.spec = spec;
    cost.parameters = network.graph().parameter_count();
    cost.macs = for_inference(network.graph()).macs();
    cost.published = find_network(spec.name).published;
    costs.push_back(std::move(cost));
  }
  const std::vector<double> times = time_in_turns(calls, rounds);
  for (size_t i = 0; i < costs.size(); ++i) {
    costs[i].milliseconds = times[i];
    costs[i].bytes = networks[i]->bytes();
  }
  return costs;
}

Table costs_table(std::span<const NetworkCost> costs) {
  Table table;
  table.columns = {{"network"},           {"parameters", true}, {"GMAC", true},
                   {"memory, MiB", true}, {"ms", true},         {"mean IoU, published"}};
  for (const NetworkCost& cost : costs) {
    table.rows.push_back(
        {cost.spec.name, fmt::format("{}", cost.parameters), fmt::format("{:.2f}", giga(cost.macs)),
         fmt::format("{:.1f}", mib(cost.bytes)), fmt::format("{:.2f}", cost.milliseconds),
         std::string(cost.published.empty() ? "–" : cost.published)});
  }
  return table;
}

nlohmann::ordered_json costs_json(std::span<const NetworkCost> costs) {
  auto list = nlohmann::ordered_json::array();
  for (const NetworkCost& cost : costs) {
    list.push_back({{"network", cost.spec.name},
                    {"classes", cost.spec.classes},
                    {"parameters", cost.parameters},
                    {"macs", cost.macs},
                    {"memory_bytes", cost.bytes},
                    {"milliseconds", cost.milliseconds}});
    if (!cost.published.empty()) list.back()["published_miou"] = cost.published;
  }
  return list;
}

}  // namespace macadam
