#pragma once
// What a resumed run must share with its beginning: everything that later steps depend on.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "kernels/device.h"
#include "loader/dataset.h"
#include "loader/label_set.h"
#include "run/config.h"

namespace macadam {

/// What a run computes on: another one rounds otherwise.
struct RunCompute {
  std::string device;   // "AMD EPYC", "NVIDIA H200"; empty: not known
  std::string library;  // of the CPU's convolutions, as self_test_library() says it; empty on a GPU
  int threads = 0;      // that the CPU computes with; 0 on a GPU

  bool operator==(const RunCompute&) const = default;
  /// "AMD EPYC with 2 threads, oneDNN 3.2.0 (avx512_core_bf16)".
  std::string text() const;
};

/// A run's samples by their names, what the ids in their masks mean, what was counted in them, its
/// teacher, and what it computed on last. Kept in the run's folder, so that another data set or
/// teacher is told from the same one at another place.
struct RunData {
  struct Split {
    int64_t samples = 0;
    std::string names;  // a hash of all, in their order

    bool operator==(const Split&) const = default;
  };
  struct Class {
    std::string name;
    std::vector<int> ids;  // in the masks' files, ascending

    bool operator==(const Class&) const = default;
  };
  Split train, val;
  std::vector<Class> classes;
  std::vector<float> class_weights = {};  // of a rule for them; one a class, or none
  std::string teacher = {};               // a hash of its file; empty: none
  RunCompute compute = {};
};

/// Of this process.
RunCompute compute_of(const DeviceInfo& device);

RunData run_data_of(const Dataset& train, const Dataset& val, const LabelSet& labels);

/// As JSON, and back. read_run_data is empty where there is no such file; it throws InputError
/// when the file is damaged.
std::string to_json(const RunData& data);
std::optional<RunData> read_run_data(const std::filesystem::path& file);

/// What was begun: its configuration and its samples.
struct BegunRun {
  std::filesystem::path folder;
  Config config;
  std::optional<RunData> data;
};

/// Throws InputError when `folder` holds no run, or a damaged one.
BegunRun read_begun_run(const std::filesystem::path& folder);

/// The overrides that lead to the run whose own config.toml `file` is, wherever its folder has been
/// copied; none when `file` is another configuration.
std::vector<std::string> overrides_of_run_file(const std::filesystem::path& file);

/// Gives the keys that are OnResume::kept (warmup, weights, normalisation), and the options of the
/// network that came from the weights, the run's values where they are not given.
void keep_begun_defaults(Config& config, const BegunRun& begun);

/// Throws InputError naming the first key, or the part of a list, whose value differs from the
/// run's and that must not (OnResume). What is resolved is compared elsewhere: the precision in
/// Trainer, data set and classes in check_same_data.
void check_same_configuration(const Config& config, const BegunRun& begun);

/// What is to be said of a run that goes on on something else than it computed on; empty: nothing.
std::string compute_notice(const RunCompute& now, const BegunRun& begun);

/// Throws InputError when the classes, their ids, the samples or the teacher are not those that the
/// run was begun with, and when the same samples lie elsewhere and `may_have_moved` is false.
void check_same_data(const Config& config, const RunData& data, const BegunRun& begun,
                     bool may_have_moved);

}  // namespace macadam
