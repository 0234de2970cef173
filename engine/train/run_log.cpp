#include "engine/train/run_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
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

/// The columns of results.csv that are numbers of EpochRecord itself; terms of the loss and scores
/// follow val_loss.
struct Column {
  std::string_view name;
  double EpochRecord::*value;
  bool rounded;  // to thousandths: what a clock gives
};
constexpr std::array<Column, 6> kColumns{{
    {"train_loss", &EpochRecord::train_loss, false},
    {"val_loss", &EpochRecord::val_loss, false},
    {"lr", &EpochRecord::lr, false},
    {"seconds", &EpochRecord::seconds, true},
    {"images_per_second", &EpochRecord::images_per_second, true},
    {"data_wait_seconds", &EpochRecord::data_wait_seconds, true},
}};
constexpr size_t kBeforeScores = 2;

/// JSON has no NaN.
nlohmann::json number(double value) {
  return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(nullptr);
}

std::vector<std::string> columns_of(const EpochRecord& record) {
  std::vector<std::string> names{"epoch", "step"};
  for (size_t i = 0; i < kColumns.size(); ++i) {
    if (i == kBeforeScores) {
      for (const Score& term : record.terms) names.push_back(term.name);
      for (const Score& score : record.scores) names.push_back(score.name);
    }
    names.emplace_back(kColumns[i].name);
  }
  return names;
}

/// The text of the column `name`; nan for one that the record does not have.
std::string cell_of(const EpochRecord& record, std::string_view name) {
  if (name == "epoch") return fmt::to_string(record.epoch);
  if (name == "step") return fmt::to_string(record.step);
  for (const Column& column : kColumns) {
    if (column.name != name) continue;
    const double value = record.*column.value;
    return column.rounded ? fmt::format("{:.3f}", value) : fmt::to_string(value);
  }
  for (const std::vector<Score>* list : {&record.terms, &record.scores}) {
    const auto found = std::ranges::find(*list, name, &Score::name);
    if (found != list->end()) return fmt::to_string(found->value);
  }
  return "nan";
}

void set_cell(EpochRecord& record, const std::string& name, double value) {
  if (name == "epoch") {
    record.epoch = static_cast<int64_t>(value);
  } else if (name == "step") {
    record.step = static_cast<int64_t>(value);
  } else if (const auto column = std::ranges::find(kColumns, name, &Column::name);
             column != kColumns.end()) {
    record.*column->value = value;
  } else if (name.starts_with("train_") || name.starts_with("val_")) {
    record.terms.push_back({name, value});
  } else {
    record.scores.push_back({name, value});
  }
}

std::vector<std::string> split_at_commas(const std::string& line) {
  std::vector<std::string> fields;
  std::istringstream stream(line);
  for (std::string field; std::getline(stream, field, ',');) fields.push_back(field);
  return fields;
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

/// The numbers of a line of results.csv with so many columns; empty when it is not one.
std::vector<double> results_cells(const std::string& line, size_t columns) {
  std::vector<double> cells;
  for (const std::string& field : split_at_commas(line)) {
    char* end = nullptr;
    cells.push_back(std::strtod(field.c_str(), &end));
    if (end == field.c_str() || *end != '\0') return {};
  }
  if (cells.size() != columns) cells.clear();
  return cells;
}

std::ofstream open_for_appending(const std::filesystem::path& file) {
  std::ofstream stream(file, std::ios::app);
  if (!stream) throw RunError("cannot write", file.string(), "check the folder's permissions");
  return stream;
}

}  // namespace

std::vector<EpochRecord> read_results(const std::filesystem::path& file) {
  std::vector<EpochRecord> records;
  if (!std::filesystem::exists(file)) return records;
  std::istringstream lines(read_file(file, kMaxLogBytes));
  std::string line;
  std::getline(lines, line);
  const std::vector<std::string> columns = split_at_commas(line);
  for (int number = 2; std::getline(lines, line); ++number) {
    const std::vector<double> cells = results_cells(line, columns.size());
    if (cells.empty()) {
      throw InputError("not a line of results.csv", fmt::format("{}:{}", file.string(), number),
                       "remove the line, or the run");
    }
    EpochRecord record;
    for (const Column& column : kColumns) record.*column.value = std::nan("");
    for (size_t i = 0; i < columns.size(); ++i) set_cell(record, columns[i], cells[i]);
    records.push_back(std::move(record));
  }
  return records;
}

RunLog::RunLog(const std::filesystem::path& folder, int64_t epoch, int64_t step)
    : log_path_(folder / "log.jsonl"), results_path_(folder / "results.csv") {
  // Lines that a crash or a full disk left in pieces go as well.
  constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
  filter_lines(log_path_, [&](const std::string& line) {
    const auto entry = nlohmann::json::parse(line, nullptr, false);
    if (!entry.is_object() || !entry.contains("event")) return false;
    if (entry["event"] == "step") return integer_in(entry, "step", kNever) < step;
    return integer_in(entry, "epoch", kNever) <= epoch;
  });
  filter_lines(results_path_, [&](const std::string& line) {
    if (epoch > 0 && columns_.empty() && line.starts_with("epoch,")) {
      columns_ = split_at_commas(line);
      return true;
    }
    const std::vector<double> cells = results_cells(line, columns_.size());
    return !cells.empty() && cells[0] <= static_cast<double>(epoch);
  });
  log_ = open_for_appending(log_path_);
  results_ = open_for_appending(results_path_);
}

void RunLog::step(int64_t epoch, int64_t step, double loss, double lr) {
  log_ << fmt::format(R"({{"event":"step","epoch":{},"step":{},"loss":{},"lr":{}}})", epoch, step,
                      loss, lr)
       << '\n';
}

void RunLog::recovery(int64_t epoch, int64_t step, int64_t count, const std::string& reason) {
  const nlohmann::json entry{{"event", "recovery"},
                             {"epoch", epoch},
                             {"step", step},
                             {"count", count},
                             {"reason", reason}};
  log_ << json_text(entry) << '\n';
}

void RunLog::epoch(const EpochRecord& record) {
  nlohmann::json entry{
      {"event", "epoch"}, {"epoch", record.epoch}, {"step", record.step}, {"best", record.best}};
  for (const Column& column : kColumns) entry[column.name] = number(record.*column.value);
  for (const Score& term : record.terms) entry[term.name] = number(term.value);
  for (const Score& score : record.scores) entry[score.name] = number(score.value);
  log_ << json_text(entry) << '\n';
  if (columns_.empty()) {
    columns_ = columns_of(record);
    results_ << fmt::format("{}\n", fmt::join(columns_, ","));
  }
  std::string line;
  for (const std::string& name : columns_) {
    if (!line.empty()) line += ',';
    line += cell_of(record, name);
  }
  results_ << line << '\n';
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
