#include "engine/train/run_log.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"
#include "base/files.h"
#include "base/json_text.h"

namespace macadam {

namespace {

constexpr size_t kMaxLogBytes = size_t{1} << 30;
constexpr size_t kColumns = 11;  // of results.csv

/// JSON has no NaN.
nlohmann::json number(double value) {
  return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(nullptr);
}

std::string header(const SegmentationMetrics& metrics) {
  return fmt::format(
      "epoch,step,train_loss,val_loss,{},{},pixel_accuracy,lr,seconds,images_per_second,"
      "data_wait_seconds",
      metrics.mean_iou_name(), metrics.mean_dice_name());
}

/// The lines of `file` that `keep` accepts, written back.
template <typename Keep>
void filter_lines(const std::filesystem::path& file, Keep keep) {
  if (!std::filesystem::exists(file)) return;
  std::istringstream lines(read_file(file, kMaxLogBytes));
  std::string kept;
  for (std::string line; std::getline(lines, line);) {
    if (keep(line)) kept += line + '\n';
  }
  write_file_atomically(file, kept);
}

/// The integer that a line of log.jsonl gives; `otherwise` when it gives none.
int64_t integer_in(const nlohmann::json& entry, const char* key, int64_t otherwise) {
  const auto found = entry.find(key);
  if (found == entry.end() || !found->is_number_integer()) return otherwise;
  return found->get<int64_t>();
}

/// The numbers of a line of results.csv; empty when it is not one.
std::vector<double> results_cells(const std::string& line) {
  std::vector<double> cells;
  std::istringstream fields(line);
  for (std::string cell; std::getline(fields, cell, ',');) {
    char* end = nullptr;
    cells.push_back(std::strtod(cell.c_str(), &end));
    if (end == cell.c_str() || *end != '\0') return {};
  }
  if (cells.size() != kColumns) cells.clear();
  return cells;
}

std::ofstream open_for_appending(const std::filesystem::path& file) {
  std::ofstream stream(file, std::ios::app);
  if (!stream) throw RunError("cannot write", file.string(), "check the folder's permissions");
  return stream;
}

}  // namespace

std::vector<ResultsRow> read_results(const std::filesystem::path& file) {
  std::vector<ResultsRow> rows;
  if (!std::filesystem::exists(file)) return rows;
  std::istringstream lines(read_file(file, kMaxLogBytes));
  std::string line;
  std::getline(lines, line);  // the header
  for (int number = 2; std::getline(lines, line); ++number) {
    const std::vector<double> cells = results_cells(line);
    if (cells.empty()) {
      throw InputError("not a line of results.csv", fmt::format("{}:{}", file.string(), number),
                       "remove the line, or the run");
    }
    rows.push_back({static_cast<int64_t>(cells[0]), static_cast<int64_t>(cells[1]), cells[2],
                    cells[3], cells[4], cells[5], cells[6], cells[7], cells[8], cells[9],
                    cells[10]});
  }
  return rows;
}

RunLog::RunLog(const std::filesystem::path& folder, int64_t epoch, int64_t step)
    : log_path_(folder / "log.jsonl"), results_path_(folder / "results.csv") {
  // Lines that a crash or a full disk left in pieces go as well.
  constexpr int64_t never = std::numeric_limits<int64_t>::max();
  filter_lines(log_path_, [&](const std::string& line) {
    const auto entry = nlohmann::json::parse(line, nullptr, false);
    if (!entry.is_object() || !entry.contains("event")) return false;
    if (entry["event"] == "step") return integer_in(entry, "step", never) < step;
    return integer_in(entry, "epoch", never) <= epoch;
  });
  bool header = false;
  filter_lines(results_path_, [&](const std::string& line) {
    if (!header && line.starts_with("epoch,")) return header = epoch > 0;
    const std::vector<double> cells = results_cells(line);
    return header && !cells.empty() && cells[0] <= static_cast<double>(epoch);
  });
  log_ = open_for_appending(log_path_);
  results_ = open_for_appending(results_path_);
}

void RunLog::step(int64_t epoch, int64_t step, double loss, double lr) {
  log_ << fmt::format(R"({{"event":"step","epoch":{},"step":{},"loss":{},"lr":{}}})", epoch, step,
                      loss, lr)
       << '\n';
}

void RunLog::epoch(const EpochSummary& s) {
  const nlohmann::json entry{{"event", "epoch"},
                             {"epoch", s.epoch},
                             {"step", s.step},
                             {"train_loss", number(s.train_loss)},
                             {"val_loss", number(s.val_loss)},
                             {s.metrics.mean_iou_name(), number(s.metrics.mean_iou)},
                             {s.metrics.mean_dice_name(), number(s.metrics.mean_dice)},
                             {"pixel_accuracy", number(s.metrics.pixel_accuracy)},
                             {"lr", s.lr},
                             {"seconds", s.seconds},
                             {"images_per_second", s.images_per_second},
                             {"data_wait_seconds", s.data_wait_seconds},
                             {"best", s.best}};
  log_ << json_text(entry) << '\n';
  if (results_.tellp() == std::streampos(0)) results_ << header(s.metrics) << '\n';
  results_ << fmt::format("{},{},{},{},{},{},{},{},{:.3f},{:.3f},{:.3f}\n", s.epoch, s.step,
                          s.train_loss, s.val_loss, s.metrics.mean_iou, s.metrics.mean_dice,
                          s.metrics.pixel_accuracy, s.lr, s.seconds, s.images_per_second,
                          s.data_wait_seconds);
}

void RunLog::flush() {
  log_.flush();
  results_.flush();
  if (!log_ || !results_) {
    throw RunError("cannot write the log", log_path_.parent_path().string(),
                   "free some space and continue with --resume");
  }
}

}  // namespace macadam
