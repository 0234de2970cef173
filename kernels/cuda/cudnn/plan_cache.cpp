#include "kernels/cuda/cudnn/plan_cache.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>

#include "base/cache_file.h"
#include "base/error.h"

namespace macadam::cuda {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kFormatLine = "macadam convolution plans, format 1";
constexpr std::string_view kColumnsLine =
    "# convolution = engine, knob:value..., bias, workspace bytes, milliseconds";
constexpr std::string_view kSeparator = " = ";
constexpr std::string_view kFused = "fused", kApart = "apart", kNoKnobs = "-";

/// A file beyond this is not one of ours, or has outgrown its use: it is begun anew.
constexpr uintmax_t kMostBytes = uintmax_t{16} << 20;

/// The part of `text` before `end`, which is taken off together with it; all without an `end`.
std::string_view take(std::string_view& text, std::string_view end) {
  const size_t at = text.find(end);
  const std::string_view part = text.substr(0, at);
  text.remove_prefix(at == std::string_view::npos ? text.size() : at + end.size());
  return part;
}

/// A number and nothing else.
template <typename T>
bool parse_number(std::string_view text, T& value) {
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && at == end;
}

bool parse_knobs(std::string_view text, std::vector<PlanRecipe::Knob>& knobs) {
  if (text == kNoKnobs) return true;
  while (!text.empty()) {
    std::string_view value = take(text, ",");
    const std::string_view type = take(value, ":");
    PlanRecipe::Knob knob;
    if (!parse_number(type, knob.type) || !parse_number(value, knob.value)) return false;
    knobs.push_back(knob);
  }
  return !knobs.empty();
}

std::optional<TunedPlan> parse_plan(std::string_view text) {
  TunedPlan plan;
  const std::string_view engine = take(text, " "), knobs = take(text, " ");
  const std::string_view bias = take(text, " "), workspace = take(text, " ");
  plan.epilogue = bias == kApart;
  const bool sound = parse_number(engine, plan.recipe.engine) &&
                     parse_knobs(knobs, plan.recipe.knobs) && (bias == kFused || bias == kApart) &&
                     parse_number(workspace, plan.workspace_bytes) &&
                     parse_number(text, plan.milliseconds) && std::isfinite(plan.milliseconds) &&
                     plan.milliseconds >= 0;
  return sound ? std::optional(plan) : std::nullopt;
}

std::string text_of(const std::vector<PlanRecipe::Knob>& knobs) {
  if (knobs.empty()) return std::string(kNoKnobs);
  std::string text;
  for (const PlanRecipe::Knob& knob : knobs) {
    text += fmt::format("{}{}:{}", text.empty() ? "" : ",", knob.type, knob.value);
  }
  return text;
}

/// "nvidia-h200-compute-capability-9.0-cudnn-9.19.0.plans"; what a name cannot hold is told apart
/// by the line in the file.
std::string file_name(std::string_view device) {
  constexpr size_t kLongest = 200;
  std::string name;
  for (const char c : device.substr(0, kLongest)) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || c == '.') {
      name += static_cast<char>(std::tolower(byte));
    } else if (!name.empty() && name.back() != '-') {
      name += '-';
    }
  }
  return name + ".plans";
}

TunedPlans read_plans(const fs::path& file, std::string_view device) {
  std::error_code error;
  if (!fs::is_regular_file(file, error) || fs::file_size(file, error) > kMostBytes || error) {
    return {};
  }
  std::ifstream stream(file, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  return parse_tuned_plans(text, device).value_or(TunedPlans());
}

FileStamp stamp_of(const struct stat& status) {
  return {status.st_ino, static_cast<uint64_t>(status.st_size), status.st_mtim.tv_sec,
          status.st_mtim.tv_nsec};
}

/// None where there is no file.
std::optional<FileStamp> stamp_of(const fs::path& file) {
  struct stat status {};
  if (::stat(file.c_str(), &status) != 0) return std::nullopt;
  return stamp_of(status);
}

}  // namespace

std::string to_text(const TunedPlans& plans, std::string_view device) {
  std::string text = fmt::format("{}\n{}\n{}\n", kFormatLine, device, kColumnsLine);
  for (const auto& [key, plan] : plans) {
    text += fmt::format("{}{}{} {} {} {} {}\n", key, kSeparator, plan.recipe.engine,
                        text_of(plan.recipe.knobs), plan.epilogue ? kApart : kFused,
                        plan.workspace_bytes, plan.milliseconds);
  }
  return text;
}

std::optional<TunedPlans> parse_tuned_plans(std::string_view text, std::string_view device) {
  if (!text.ends_with('\n')) return std::nullopt;  // cut off
  if (take(text, "\n") != kFormatLine || take(text, "\n") != device ||
      take(text, "\n") != kColumnsLine) {
    return std::nullopt;
  }
  TunedPlans plans;
  while (!text.empty()) {
    std::string_view line = take(text, "\n");
    const std::string_view key = take(line, kSeparator);
    const std::optional<TunedPlan> plan = parse_plan(line);
    if (key.empty() || !plan) return std::nullopt;
    plans.insert_or_assign(std::string(key), *plan);
  }
  return plans;
}

PlanCache::PlanCache(const fs::path& folder, std::string_view device) : device_(device) {
  require(device.find('\n') == std::string_view::npos, "a device's text is one line");
  if (folder.empty()) return;
  file_ = folder / file_name(device);
  read_changes();
}

void PlanCache::read_changes() {
  if (file_.empty()) return;
  // Taken before the file is read, which may change meanwhile: then it is read once more.
  const std::optional<FileStamp> found = stamp_of(file_);
  if (found && found != known_) plans_.merge(read_plans(file_, device_));
  known_ = found;
}

const TunedPlan* PlanCache::find(const std::string& key) {
  auto known = plans_.find(key);
  if (known == plans_.end()) {
    read_changes();
    known = plans_.find(key);
  }
  return known == plans_.end() ? nullptr : &known->second;
}

void PlanCache::store(const std::string& key, const TunedPlan& plan) {
  require(!key.empty() && key.find('\n') == std::string::npos && key.find('=') == std::string::npos,
          "a key is one line without '='");
  plans_.insert_or_assign(key, plan);
  if (file_.empty()) return;
  read_changes();
  if (const auto written = replace_cache_file(file_, to_text(plans_, device_))) {
    known_ = stamp_of(*written);
  }
}

}  // namespace macadam::cuda
