#include "engine/train/run_log.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "tests/base/full_disk.h"
#include "tests/base/temporary_folder.h"

using namespace macadam;
using macadam::testing::TemporaryFolder;

namespace {

EpochRecord summary_of(int64_t epoch, int64_t step) {
  ConfusionMatrix matrix(2);
  matrix.add(0, 0, 30);
  matrix.add(1, 0, 10);
  EpochRecord summary;
  summary.epoch = epoch;
  summary.step = step;
  summary.train_loss = 1.0 / 3;
  summary.val_loss = 0.1;
  summary.terms = {
      {"train_ce", 0.25}, {"val_ce", 0.0625}, {"train_focal", 1.0 / 7}, {"val_focal", 2}};
  summary.scores = compute_metrics(matrix, AbsentRule::drop).scores;
  summary.lr = 1e-3;
  summary.seconds = 12.5;
  summary.images_per_second = 40;
  return summary;
}

/// Two steps an epoch.
void write_epochs(RunLog& log, int64_t first, int64_t last) {
  for (int64_t epoch = first; epoch <= last; ++epoch) {
    for (int64_t step = 2 * (epoch - 1); step < 2 * epoch; ++step) log.step(epoch, step, 0.7, 1e-3);
    log.epoch(summary_of(epoch, 2 * epoch));
  }
}

std::vector<std::string> lines_of(const std::filesystem::path& file) {
  std::vector<std::string> lines;
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

TEST(RunLog, KeepsEveryDigit) {
  const TemporaryFolder folder;
  RunLog log(folder.path(), 0, 0);
  log.step(1, 0, static_cast<double>(0.1f), 1.0 / 3);
  log.epoch(summary_of(1, 1));
  log.flush();
  const auto lines = lines_of(folder / "log.jsonl");
  ASSERT_EQ(lines.size(), 2u);
  const auto step = nlohmann::json::parse(lines[0]);
  EXPECT_EQ(step.at("loss").get<double>(), static_cast<double>(0.1f));
  EXPECT_EQ(step.at("lr").get<double>(), 1.0 / 3);
  const auto epoch = nlohmann::json::parse(lines[1]);
  EXPECT_EQ(epoch.at("miou_present").get<double>(), 0.375);
  EXPECT_EQ(epoch.at("val_loss").get<double>(), 0.1);
  EXPECT_EQ(epoch.at("train_focal").get<double>(), 1.0 / 7);

  const std::vector<EpochRecord> rows = read_results(folder / "results.csv");
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].epoch, 1);
  EXPECT_EQ(rows[0].train_loss, 1.0 / 3);
  EXPECT_EQ(rows[0].terms, summary_of(1, 1).terms);
  EXPECT_EQ(rows[0].scores.at(0).value, 0.375);
  EXPECT_EQ(rows[0].scores.at(2).value, 0.75);
  EXPECT_EQ(rows[0].seconds, 12.5);
}

TEST(RunLog, ResumingCutsBackToTheCheckpoint) {
  const TemporaryFolder folder;
  {
    RunLog log(folder.path(), 0, 0);
    write_epochs(log, 1, 4);
  }
  const auto whole_log = lines_of(folder / "log.jsonl");
  const auto whole_results = lines_of(folder / "results.csv");
  EXPECT_EQ(whole_results.size(), 5u);
  std::ofstream(folder / "log.jsonl", std::ios::app) << R"({"event":"step","epo)";  // a crash
  {
    RunLog log(folder.path(), 2, 5);  // in the middle of the third epoch
    log.flush();
    EXPECT_EQ(lines_of(folder / "results.csv").size(), 3u);
    EXPECT_EQ(lines_of(folder / "log.jsonl"),
              std::vector<std::string>(whole_log.begin(), whole_log.begin() + 7));
    log.step(3, 5, 0.7, 1e-3);
    log.epoch(summary_of(3, 6));
    write_epochs(log, 4, 4);
  }
  EXPECT_EQ(lines_of(folder / "log.jsonl"), whole_log);
  EXPECT_EQ(lines_of(folder / "results.csv"), whole_results) << "the header once";

  RunLog(folder.path(), 0, 0).flush();
  EXPECT_TRUE(lines_of(folder / "log.jsonl").empty()) << "a new run";
  EXPECT_TRUE(lines_of(folder / "results.csv").empty());
}

TEST(RunLog, WhatHasNoValueIsNull) {
  const TemporaryFolder folder;
  {
    RunLog log(folder.path(), 0, 0);
    EpochRecord summary = summary_of(1, 1);
    summary.val_loss = std::nan("");
    summary.scores = compute_metrics(ConfusionMatrix(2), AbsentRule::drop).scores;
    log.epoch(summary);
  }
  const auto entry = nlohmann::json::parse(lines_of(folder / "log.jsonl").at(0));
  EXPECT_TRUE(entry.at("val_loss").is_null());
  EXPECT_TRUE(entry.at("miou_present").is_null());
  const std::vector<EpochRecord> rows = read_results(folder / "results.csv");
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_TRUE(std::isnan(rows[0].val_loss));
  EXPECT_TRUE(std::isnan(rows[0].scores.at(0).value));
}

TEST(RunLog, ReadingResultsNamesTheBadLine) {
  const TemporaryFolder folder;
  const auto file = folder / "results.csv";
  EXPECT_TRUE(read_results(file).empty()) << "no file, no results";
  for (const char* line : {"1,2,3", "1,2,3,4,5,6,7,8,9,10,11,12", "a,2,3,4,5,6,7,8,9,10,11",
                           "1,2,3,4,5,6,7,8,9,10,x", ""}) {
    std::ofstream(file)
        << "epoch,step,train_loss,val_loss,miou_present,mdice_present,pixel_accuracy,lr,"
           "seconds,images_per_second,data_wait_seconds\n1,2,3,4,5,6,7,8,9,10,11\n"
        << line << '\n';
    try {
      read_results(file);
      ADD_FAILURE() << "accepted: " << line;
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find("results.csv:3"), std::string::npos) << error.what();
    }
  }
}

TEST(RunLog, ResultsAreReadByTheirHeader) {
  const TemporaryFolder folder;
  std::ofstream(folder / "results.csv") << "epoch,boundary_f1,lr,val_loss\n3,0.5,0.25,0.125\n";
  const std::vector<EpochRecord> rows = read_results(folder / "results.csv");
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].epoch, 3);
  EXPECT_EQ(rows[0].lr, 0.25);
  EXPECT_EQ(rows[0].val_loss, 0.125);
  EXPECT_TRUE(std::isnan(rows[0].train_loss));
  EXPECT_EQ(rows[0].scores, (std::vector<Score>{{"boundary_f1", 0.5}}));
}

TEST(RunLog, AnOlderFileKeepsItsColumns) {
  const TemporaryFolder folder;
  std::ofstream(folder / "results.csv") << "epoch,step,miou_present,older\n1,2,0.5,7\n";
  {
    RunLog log(folder.path(), 1, 2);
    log.epoch(summary_of(2, 4));
  }
  const auto lines = lines_of(folder / "results.csv");
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[1], "1,2,0.5,7");
  EXPECT_EQ(lines[2], "2,4,0.375,nan");
}

TEST(RunLog, AFullDiskIsAnErrorAndCostsWholeLines) {
  const TemporaryFolder folder;
  std::optional<RunLog> log(std::in_place, folder.path(), 0, 0);
  log->step(1, 0, 0.7, 1e-3);
  log->flush();
  const auto whole = lines_of(folder / "log.jsonl");
  ASSERT_EQ(whole.size(), 1u);
  {
    const macadam::testing::FileSizeLimit limit(whole[0].size() + 20);
    log->step(1, 1, 0.7, 1e-3);
    std::string message;
    try {
      log->flush();
    } catch (const RunError& error) {
      message = error.what();
    }
    EXPECT_NE(message.find(folder.path().string()), std::string::npos) << message;
    EXPECT_NE(message.find("free some space"), std::string::npos) << message;
    log.reset();
  }
  EXPECT_EQ(lines_of(folder / "log.jsonl").size(), 2u) << "the disk took a part of the line";
  RunLog(folder.path(), 0, 2).flush();
  EXPECT_EQ(lines_of(folder / "log.jsonl"), whole);
}

TEST(RunLog, AFolderThatIsNotThereIsAnError) {
  const TemporaryFolder folder;
  EXPECT_THROW(RunLog(folder / "missing", 0, 0), RunError);
}

}  // namespace
