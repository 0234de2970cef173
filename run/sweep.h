#pragma once
// Many runs from one configuration: every combination of some keys' values, or some of them, in
// full or by successive halving. Each is a normal run folder.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "run/training_run.h"

namespace macadam {

/// A key, and the values that it is to have, as in overrides.
struct SweepAxis {
  std::string key;
  std::vector<std::string> values;
};

/// "lr=1e-3,3e-4": values are separated by commas that no bracket, brace or quotation mark
/// encloses. Throws InputError for what is none, has a value twice, or has fewer than two.
SweepAxis parse_sweep_axis(std::string_view text);

struct SweepPoint {
  /// Of its run, made of the base's and of the values; no two are the same. Where that has more
  /// than 100 bytes, its beginning and a hash of the whole.
  std::string name;
  ParameterTable variant;              // Variant::values; empty: none
  std::vector<std::string> overrides;  // of the axes, and name=
};

/// All combinations, of the configuration's variants too where it has any; the last axis fastest.
/// Throws InputError when two axes have the same key, one of them is `name` or `runs`, or the
/// points are more than 10,000. `base`: the name of the configuration's run.
std::vector<SweepPoint> sweep_grid(std::string_view base, std::span<const SweepAxis> axes,
                                   std::span<const Variant> variants = {});

/// `count` of them (all, if they are fewer) in the order of a shuffle that `seed` alone decides:
/// more of them begin with the same.
std::vector<SweepPoint> draw_points(std::vector<SweepPoint> grid, size_t count, uint64_t seed);

/// Successive halving (Jamieson and Talwalkar 2016, arXiv:1502.07943): all points train for
/// `first_epochs`, the best of them 1 / `keep` (by the mean IoU of their best epoch so far) up to
/// `keep` times as many, and so on up to the configuration's own. A round pauses a run whose
/// schedule is that of all its epochs: what goes on is bit for bit a run that never stopped.
struct Halving {
  int64_t first_epochs = 0;  // 0: none, all points train in full
  int keep = 3;
};

/// The epochs that each round ends with, ascending; the last is `epochs`.
std::vector<int64_t> halving_rounds(const Halving& halving, int64_t epochs);

class SweepObserver {
 public:
  virtual ~SweepObserver() = default;
  /// Before each run; returns who is told of it.
  virtual RunObserver& on_run(const SweepPoint& point, size_t number, size_t of,
                              int64_t epochs) = 0;
  /// A run has failed, and the sweep goes on.
  virtual void on_failure(const SweepPoint& point, const std::string& what) = 0;
};

struct SweepResult {
  std::vector<std::filesystem::path> runs;  // that have results, in the order of the points
  std::vector<std::string> failed;          // names
  bool interrupted = false;
};

/// Trains the points one after the other: `overrides` over the configuration, over them the point's
/// variant, over that its own. A run that is there already goes on where it was, or is taken as it
/// is when it has reached its round: an interrupted sweep is continued by the same call. What is
/// wrong with a configuration itself is thrown before anything is trained; a run that fails is
/// told of, and left out of later rounds.
SweepResult run_sweep(const std::filesystem::path& config, std::span<const std::string> overrides,
                      std::span<const SweepPoint> points, const Halving& halving,
                      SweepObserver& observer, const std::function<bool()>& stop_requested);

}  // namespace macadam
