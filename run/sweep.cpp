#include "run/sweep.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <numeric>
#include <optional>
#include <random>
#include <set>

#include "base/error.h"
#include "base/fnv.h"
#include "base/text.h"
#include "run/run_folder.h"
#include "run/run_results.h"

namespace macadam {

namespace fs = std::filesystem;

namespace {

constexpr size_t kMostPoints = 10'000;
constexpr size_t kLongestPart = 32;  // of a name, of one value
constexpr size_t kLongestName = 100;

/// A value as a part of a folder's name.
std::string name_part(std::string_view value) {
  std::string part;
  for (const char c : value) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       c == '.' || c == '-' || c == '+';
    if (plain) {
      part += c;
    } else if (!part.empty() && part.back() != '_') {
      part += '_';
    }
  }
  part.resize(std::min(part.size(), kLongestPart));
  while (part.ends_with('_') || part.ends_with('.')) part.pop_back();
  return part.empty() ? "none" : part;
}

/// A name of at most `most` bytes: its beginning, and a hash of `whole`, where it has more.
std::string bounded(const std::string& name, std::string_view whole, size_t most) {
  if (name.size() <= most) return name;
  const std::string hash = fmt::format("-{:08x}", fnv1a(whole) & 0xFFFFFFFFu);
  size_t kept = most - hash.size();
  while (kept > 0 && (static_cast<unsigned char>(name[kept]) & 0xC0u) == 0x80) --kept;
  return name.substr(0, kept) + hash;
}

std::vector<std::string> split_values(std::string_view text) {
  std::vector<std::string> values(1);
  int depth = 0;
  char quote_mark = '\0';
  for (const char c : text) {
    if (quote_mark != '\0') {
      if (c == quote_mark) quote_mark = '\0';
    } else if (c == '"' || c == '\'') {
      quote_mark = c;
    } else if (c == '[' || c == '{') {
      ++depth;
    } else if (c == ']' || c == '}') {
      --depth;
    } else if (c == ',' && depth == 0) {
      values.emplace_back();
      continue;
    }
    values.back() += c;
  }
  return values;
}

/// A point on its way through the rounds.
struct Candidate {
  const SweepPoint* point;
  double score = 0;
};

/// Trains a point up to that epoch of its run; its score there, or nothing when it was interrupted.
std::optional<double> train_point(const Config& config, int64_t epoch, RunObserver& observer,
                                  const std::function<bool()>& stop_requested) {
  const fs::path folder = run_folder(config);
  const bool begun = fs::exists(folder / "last.safetensors");
  TrainingRun run(config, {.resume = begun, .stop_epoch = epoch}, observer);
  if (run.run(stop_requested).end == TrainingEnd::interrupted) return std::nullopt;
  // A run that went further in an earlier call is judged by what it was here.
  return read_run_results(folder).best_score("miou_", epoch);
}

}  // namespace

SweepAxis parse_sweep_axis(std::string_view text) {
  const size_t equals = text.find('=');
  SweepAxis axis;
  if (equals != std::string_view::npos && equals > 0) {
    axis.key = text.substr(0, equals);
    axis.values = split_values(text.substr(equals + 1));
  }
  const bool whole =
      std::ranges::none_of(axis.values, [](const std::string& value) { return value.empty(); });
  if (axis.values.size() < 2 || !whole) {
    throw InputError("this is no key with several values", quote(text),
                     "write key=first,second; a key with one value is an override in the file");
  }
  const std::set<std::string> different(axis.values.begin(), axis.values.end());
  if (different.size() < axis.values.size()) {
    throw InputError("a value stands twice", quote(text), "leave one out");
  }
  return axis;
}

std::vector<SweepPoint> sweep_grid(std::string_view base, std::span<const SweepAxis> axes,
                                   std::span<const Variant> variants) {
  std::set<std::string, std::less<>> keys;
  const size_t variant_count = std::max<size_t>(1, variants.size());
  size_t count = variant_count;
  for (const SweepAxis& axis : axes) {
    if (axis.key == "name" || axis.key == "runs") {
      throw InputError("a sweep names its runs itself", quote(axis.key), "leave it out");
    }
    if (!keys.insert(axis.key).second) {
      throw InputError("a key stands twice", quote(axis.key), "put all its values into one list");
    }
    count *= axis.values.size();
    if (count > kMostPoints) {
      throw InputError(fmt::format("more than {} runs", kMostPoints), quote(axis.key),
                       "vary fewer keys, or draw with --random from several sweeps");
    }
  }
  std::vector<SweepPoint> points;
  std::set<std::string> names;
  for (size_t number = 0; number < count; ++number) {
    SweepPoint point{std::string(base), {}, {}};
    size_t stride = count / variant_count, rest = number % stride;
    std::string whole(base);  // what the name is made of
    if (!variants.empty()) {
      const Variant& variant = variants[number / stride];
      point.name += "-" + name_part(variant.name);
      point.variant = variant.values;
      whole += variant.name;
    }
    for (const SweepAxis& axis : axes) {
      stride /= axis.values.size();
      const std::string& value = axis.values[rest / stride];
      rest %= stride;
      point.name += "-" + name_part(value);
      point.overrides.push_back(axis.key + "=" + value);
      whole += '\n' + point.overrides.back();
    }
    const std::string plain = point.name;
    point.name = bounded(plain, whole, kLongestName);
    for (int n = 2; !names.insert(point.name).second; ++n) {
      const std::string number_behind = fmt::format("-{}", n);
      point.name = bounded(plain, whole, kLongestName - number_behind.size()) + number_behind;
    }
    point.overrides.push_back("name=" + point.name);
    points.push_back(std::move(point));
  }
  return points;
}

std::vector<SweepPoint> draw_points(std::vector<SweepPoint> grid, size_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  // Fisher and Yates by hand: std::shuffle is another one in every library.
  for (size_t i = 0; i + 1 < grid.size() && i < count; ++i) {
    std::swap(grid[i], grid[i + random() % (grid.size() - i)]);
  }
  grid.resize(std::min(count, grid.size()));
  return grid;
}

std::vector<int64_t> halving_rounds(const Halving& halving, int64_t epochs) {
  std::vector<int64_t> rounds;
  if (halving.first_epochs > 0) {
    for (int64_t e = halving.first_epochs; e < epochs; e *= halving.keep) rounds.push_back(e);
  }
  rounds.push_back(epochs);
  return rounds;
}

SweepResult run_sweep(const fs::path& config, std::span<const std::string> overrides,
                      std::span<const SweepPoint> points, const Halving& halving,
                      SweepObserver& observer, const std::function<bool()>& stop_requested) {
  require(halving.keep >= 2, "fewer in every round");
  const auto config_of = [&](const SweepPoint& point) {
    return load_config(config, overrides, point.variant, point.overrides);
  };
  std::vector<Candidate> candidates;
  int64_t epochs = 0;
  for (const SweepPoint& point : points) {
    epochs = std::max(epochs, config_of(point).epochs);
    candidates.push_back({&point});
  }
  SweepResult result;
  std::set<const SweepPoint*> trained;
  for (const int64_t round : halving_rounds(halving, epochs)) {
    std::vector<Candidate> left;
    for (size_t i = 0; i < candidates.size() && !result.interrupted; ++i) {
      const SweepPoint& point = *candidates[i].point;
      RunObserver& run_observer = observer.on_run(point, i + 1, candidates.size(), round);
      const Config resolved = config_of(point);
      const int64_t stop = std::min(round, resolved.epochs);  // epochs may be an axis
      try {
        const auto score = train_point(resolved, stop, run_observer, stop_requested);
        result.interrupted = !score;
        if (!score) break;
        left.push_back({&point, *score});
        trained.insert(&point);
      } catch (const std::exception& error) {
        result.failed.push_back(point.name);
        observer.on_failure(point, error.what());
      }
    }
    if (result.interrupted) break;
    std::ranges::stable_sort(left, std::ranges::greater{}, [](const Candidate& candidate) {
      return std::isnan(candidate.score) ? -1.0 : candidate.score;
    });
    if (round < epochs) {
      const size_t keep =
          (left.size() + static_cast<size_t>(halving.keep) - 1) / static_cast<size_t>(halving.keep);
      left.resize(std::min(left.size(), std::max<size_t>(keep, 1)));
    }
    candidates = std::move(left);
  }
  for (const SweepPoint& point : points) {
    if (trained.contains(&point)) {
      result.runs.push_back(run_folder(config_of(point)));
    }
  }
  return result;
}

}  // namespace macadam
