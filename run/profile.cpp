#include "run/profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/json_text.h"
#include "engine/plan/precision.h"

namespace macadam {

namespace {

struct Row {
  std::string name, kind;
  double forward = 0, backward = 0, other = 0, floor = 0;  // milliseconds
  int64_t flops = 0, bytes = 0, launches = 0;

  double sum() const { return forward + backward + other; }

  void add(const ProfiledCall& call) {
    const std::string& pass = call.step.pass;
    (pass == "forward" ? forward : pass == "backward" ? backward : other) += call.milliseconds;
    floor += call.floor;
    flops += call.step.call.flops;
    bytes += call.step.call.bytes;
    launches += call.launches;
  }
};

void print(std::string& text, const Row& row, const StepProfile& profile) {
  const double seconds = std::max(1e-3 * row.sum(), 1e-9);
  fmt::format_to(std::back_inserter(text),
                 "{:<34} {:<15} {:>9.3f} {:>9.3f} {:>8.3f} {:>6.1f}% {:>10.1f} {:>8.1f} {:>7.0f}%",
                 row.name, row.kind, row.forward, row.backward, row.other,
                 100 * row.sum() / profile.step_milliseconds,
                 1e-9 * static_cast<double>(row.flops) / seconds,
                 1e-9 * static_cast<double>(row.bytes) / seconds, 1e-1 * row.floor / seconds);
  if (profile.device.is_cuda()) fmt::format_to(std::back_inserter(text), " {:>9}", row.launches);
  text += '\n';
}

}  // namespace

std::string profile_table(const StepProfile& profile) {
  std::vector<Row> rows;
  std::map<std::pair<int, std::string>, size_t>
      row_of;  // by the layer, or the kind of what is none
  std::map<std::string, Row> kinds;
  std::string before;  // the last layer that had a name
  for (const ProfiledCall& call : profile.calls) {
    const PlanCall& layer = call.step.call;
    kinds.try_emplace(layer.kind, Row{"", layer.kind}).first->second.add(call);
    const std::pair<int, std::string> key{layer.layer, layer.layer < 0 ? layer.kind : ""};
    const auto [place, fresh] = row_of.try_emplace(key, rows.size());
    if (fresh) {
      if (!layer.name.empty()) before = layer.name;
      const bool named = !layer.name.empty() || layer.layer < 0;
      rows.push_back({named ? layer.name : "after " + before, layer.kind});
    }
    rows[place->second].add(call);
  }
  std::vector<Row> sums;
  sums.reserve(kinds.size());
  for (auto& [kind, row] : kinds) sums.push_back(std::move(row));
  std::sort(sums.begin(), sums.end(), [](const Row& a, const Row& b) { return a.sum() > b.sum(); });

  std::string text =
      fmt::format("{:<34} {:<15} {:>9} {:>9} {:>8} {:>7} {:>10} {:>8} {:>8}", "layer", "kind",
                  "forward", "backward", "other", "share", "GFLOP/s", "GB/s", "of floor");
  if (profile.device.is_cuda()) text += fmt::format(" {:>9}", "launches");
  text += '\n';
  for (const Row& row : rows) print(text, row, profile);
  text += "\nby kind\n";
  for (const Row& row : sums) print(text, row, profile);
  text += fmt::format(
      "\n{:.3f} ms a step (medians of {} steps, milliseconds); {:.1f}% of the wall time waiting "
      "for data\n"
      "of floor: of a call's bytes at the {:.1f} GB/s of a large copy, or of its FLOPs at the "
      "{:.1f} GFLOP/s of a large {} matrix product, whichever takes longer\n",
      profile.step_milliseconds, profile.steps, 100 * profile.data_wait_share,
      1e-9 * profile.copy_rate, 1e-9 * profile.matrix_rate, precision_name(profile.dtype));
  if (profile.device.is_cuda()) {
    text += fmt::format(
        "{} launches a step: kernels, copies and fills, and each call of cuDNN as one\n"
        "calls are launched one by one here: the times of small ones include the gaps between "
        "launches, which a captured step does not have\n",
        profile.step_launches);
  }
  return text;
}

std::string chrome_trace(const StepProfile& profile) {
  nlohmann::json events = nlohmann::json::array();
  for (const ProfiledCall& call : profile.calls) {
    const PlanCall& layer = call.step.call;
    const std::string name = layer.name.empty() ? layer.kind : layer.name;
    events.push_back({{"name", name},
                      {"cat", call.step.pass},
                      {"ph", "X"},
                      {"pid", 1},
                      {"tid", 1},
                      {"ts", 1e3 * call.begin},
                      {"dur", 1e3 * call.milliseconds},
                      {"args",
                       {{"pass", call.step.pass},
                        {"kind", layer.kind},
                        {"flops", layer.flops},
                        {"bytes", layer.bytes},
                        {"launches", call.launches},
                        {"floor_us", 1e3 * call.floor}}}});
  }
  const nlohmann::json trace{{"traceEvents", std::move(events)}, {"displayTimeUnit", "ms"}};
  return json_text(trace, 1) + "\n";
}

}  // namespace macadam
