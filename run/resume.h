#pragma once
// What a resumed run must share with its beginning: everything that later steps depend on.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "loader/dataset.h"
#include "loader/label_set.h"
#include "run/config.h"

namespace macadam {

/// A run's samples by their names, what the ids in their masks mean, what was counted in them, and
/// its teacher. Kept in the run's folder, so that another data set or teacher is told from the same
/// one at another place.
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
};

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

/// Throws InputError when the classes, their ids, the samples or the teacher are not those that the
/// run was begun with, and when the same samples lie elsewhere and `may_have_moved` is false.
void check_same_data(const Config& config, const RunData& data, const BegunRun& begun,
                     bool may_have_moved);

}  // namespace macadam
