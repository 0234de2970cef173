#pragma once
// Runs beside each other: what each has reached, what it cost, and where they differ.

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "kernels/device.h"
#include "report/table.h"
#include "run/run_results.h"

namespace macadam {

struct ComparedRun {
  RunResults results;
  // Of its best model; 0 where there is none yet.
  int64_t parameters = 0;    // in scalars
  int64_t macs = 0;          // of an image of the network's size
  uint64_t model_bytes = 0;  // of the file
  double milliseconds = 0;   // of an image of the network's size; 0: not measured
};

/// Reads a run and its best model. Throws InputError as read_run_results, and for a damaged model.
ComparedRun read_compared_run(const std::filesystem::path& folder);

/// Measures ComparedRun::milliseconds of each that has a model: photos one by one in the models'
/// own precision, from bytes to mask, in turns, medians of `rounds` after warming up.
void time_models(std::span<ComparedRun> runs, Device device, std::string_view precision,
                 int rounds);

/// The order of tables: the best first, those without a score last.
void sort_by_score(std::vector<ComparedRun>& runs);

/// Whether no other run has at least its score for at most its cost, one of them strictly: the
/// Pareto front. Costs are the times where all are measured, else the multiply-adds. In the order
/// of `runs`; those without score or cost are not in it.
std::vector<bool> pareto_front(std::span<const ComparedRun> runs);

/// The runs; those that differ in their seeds alone together, with mean and spread; the IoU of each
/// class; the settings that differ. Tables without rows are left out. Requires at least one run.
std::vector<Table> comparison_tables(std::span<const ComparedRun> runs);

/// {"runs": [...]} with the numbers of the first table and the classes, not rounded.
nlohmann::ordered_json comparison_json(std::span<const ComparedRun> runs);

}  // namespace macadam
