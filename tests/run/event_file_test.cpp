// TensorBoard's event files: checksums, messages, and what is taken back when a run goes on.
// tests/run/tracking_test.py has them read by TensorBoard itself.

#include "run/tracking/event_file.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "base/error.h"
#include "base/files.h"
#include "run/tracking/tensorboard.h"
#include "tests/base/temporary_folder.h"

namespace macadam {
namespace {

using testing::TemporaryFolder;

const auto kAll = [](std::string_view, int64_t) { return true; };

ProtoMessage value(const std::string& tag, float number) {
  return std::move(ProtoMessage().bytes(1, tag).small_number(2, number));
}

std::vector<EventHead> heads_of(const std::filesystem::path& file) {
  std::vector<EventHead> heads;
  for (const std::string& record : read_records(read_file(file, 1 << 20))) {
    const EventHead head = read_event_head(record);
    if (!head.tag.empty()) heads.push_back(head);
  }
  return heads;
}

std::string text_of(const std::vector<EventHead>& heads) {
  std::string text;
  for (const EventHead& head : heads) text += head.tag + "@" + std::to_string(head.step) + " ";
  return text;
}

// RFC 3720, appendix B.4; the check value of CRC-32C's catalogue entry.
TEST(Crc32c, IsThatOfTheStandard) {
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62A8AB43u);
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);
}

// The encodings of protobuf.dev/programming-guides/encoding.
TEST(ProtoMessages, AreEncodedAsTheGuideSays) {
  EXPECT_EQ(ProtoMessage().integer(1, 150).text(), "\x08\x96\x01");
  EXPECT_EQ(ProtoMessage().bytes(2, "testing").text(), "\x12\x07testing");
  EXPECT_EQ(ProtoMessage().message(3, ProtoMessage().integer(1, 150)).text(),
            "\x1a\x03\x08\x96\x01");
  EXPECT_EQ(ProtoMessage().integer(1, -2).text(), "\x08\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01");
  EXPECT_EQ(ProtoMessage().small_number(16, 1).text(), std::string("\x85\x01\0\0\x80\x3f", 6));
}

TEST(EventFiles, ARunThatGoesOnTakesBackWhatCameLater) {
  const TemporaryFolder folder;
  const std::filesystem::path file = folder / "events";
  {
    EventFile events(file, kAll);
    for (int64_t step = 1; step <= 3; ++step) {
      events.add(step, value("loss", 1.5f));
      events.add(step, value("iou", 0.5f));
    }
    events.flush();
  }
  EXPECT_EQ(text_of(heads_of(file)), "loss@1 iou@1 loss@2 iou@2 loss@3 iou@3 ");
  {
    EventFile events(file, [](std::string_view tag, int64_t step) {
      return tag == "iou" ? step <= 1 : step <= 2;
    });
    events.add(4, value("loss", 1));
    events.flush();
  }
  EXPECT_EQ(text_of(heads_of(file)), "loss@1 iou@1 loss@2 loss@4 ");
}

// A process that died left half a record, a bad disk another one.
TEST(EventFiles, DamagedRecordsGo) {
  const TemporaryFolder folder;
  const std::filesystem::path file = folder / "events";
  {
    EventFile events(file, kAll);
    for (int64_t step = 1; step <= 3; ++step) events.add(step, value("loss", 1));
    events.flush();
  }
  const std::string whole = read_file(file, 1 << 20);
  for (size_t size = 0; size < whole.size(); ++size) {
    write_file_atomically(file, std::string_view(whole).substr(0, size));
    { const EventFile again(file, kAll); }
    EXPECT_LT(heads_of(file).size(), 3u);
  }
  for (size_t at = 0; at < whole.size(); ++at) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    write_file_atomically(file, damaged);
    { const EventFile again(file, kAll); }
    EXPECT_LT(heads_of(file).size(), 4u);
  }
}

TEST(EventHeads, OfAnyBytesAreReadWithoutHarm) {
  std::string event = ProtoMessage()
                          .number(1, 2.5)
                          .integer(2, 7)
                          .message(5, ProtoMessage().message(1, value("a/b", 1)))
                          .text();
  EXPECT_EQ(read_event_head(event).tag, "a/b");
  EXPECT_EQ(read_event_head(event).step, 7);
  for (size_t at = 0; at < event.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = event;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << bit));
      EXPECT_LE(read_event_head(damaged).tag.size(), damaged.size());
      EXPECT_LE(read_event_head(damaged.substr(0, at)).tag.size(), at);
    }
  }
}

EpochRecord record_of(int64_t epoch) {
  EpochRecord record;
  record.epoch = epoch;
  record.train_loss = 1;
  record.val_loss = std::numeric_limits<double>::quiet_NaN();
  record.scores = {{"miou_present", 0.5}};
  return record;
}

TEST(TensorBoard, KnowsWhichEpochsItHas) {
  const TemporaryFolder folder;
  const std::vector<TrackedParameter> parameters{{"network", "unet_mini"}, {"lr", "0.001"}};
  const auto none = [](const std::string& line) { ADD_FAILURE() << line; };
  {
    const auto board = make_tensorboard({folder.path()}, parameters, none);
    EXPECT_EQ(board->known_epoch(), 0);
    for (int64_t step = 0; step < 6; ++step) board->update(step, 1, 0.1);
    for (int64_t epoch = 1; epoch <= 3; ++epoch) board->epoch(record_of(epoch));
    EXPECT_EQ(board->known_epoch(), 3);
    board->end(TrainingEnd::interrupted);
  }
  const auto board = make_tensorboard({folder.path(), 2, 4}, parameters, none);
  EXPECT_EQ(board->known_epoch(), 2);
  board->end(TrainingEnd::finished);
  int steps = 0, epochs = 0, ends = 0;
  for (const EventHead& head : heads_of(folder / "events.out.tfevents.macadam")) {
    steps += head.tag == "steps/loss" ? 1 : 0;
    epochs += head.tag == "scores/miou_present" ? 1 : 0;
    ends += head.tag == "_hparams_/session_end_info" ? 1 : 0;
    EXPECT_NE(head.tag, "loss/val") << "it is not a number";
  }
  EXPECT_EQ(steps, 4);
  EXPECT_EQ(epochs, 2);
  EXPECT_EQ(ends, 1);
}

// A loss that is not finite takes the run back to its last checkpoint.
TEST(TensorBoard, AfterARecoveryEveryStepIsThereOnce) {
  const TemporaryFolder folder;
  const auto board =
      make_tensorboard({folder.path()}, {}, [](const std::string& line) { ADD_FAILURE() << line; });
  for (int64_t step = 0; step < 4; ++step) board->update(step, 1, 0.1);
  board->epoch(record_of(1));
  for (int64_t step = 4; step < 7; ++step) board->update(step, 1, 0.1);
  board->recover(1, 4);
  EXPECT_EQ(board->known_epoch(), 1);
  for (int64_t step = 4; step < 8; ++step) board->update(step, 1, 0.1);
  board->fail();
  std::vector<int64_t> steps;
  int epochs = 0, configurations = 0, ends = 0;
  for (const EventHead& head : heads_of(folder / "events.out.tfevents.macadam")) {
    if (head.tag == "steps/loss") steps.push_back(head.step);
    epochs += head.tag == "scores/miou_present" ? 1 : 0;
    configurations += head.tag == "configuration/text_summary" ? 1 : 0;
    ends += head.tag == "_hparams_/session_end_info" ? 1 : 0;
  }
  EXPECT_EQ(steps, (std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(epochs, 1);
  EXPECT_EQ(configurations, 1);
  EXPECT_EQ(ends, 1);
}

// Which of its means a run has is a matter of its rule for absent classes.
TEST(TensorBoard, TheTableOfHyperparametersHasTheScoreOfTheRun) {
  const TemporaryFolder folder;
  const auto fail = [](const std::string& line) { ADD_FAILURE() << line; };
  make_tensorboard({.folder = folder.path(), .score = "miou_absent1"}, {}, fail);
  const std::string text = read_file(folder / "events.out.tfevents.macadam", 1 << 20);
  EXPECT_NE(text.find("scores/miou_absent1"), std::string::npos);
  EXPECT_EQ(text.find("scores/miou_present"), std::string::npos);
}

// The run is worth more than its event file.
TEST(TensorBoard, AFolderThatCannotBeWrittenIsANotice) {
  std::vector<std::string> notices;
  const auto board = make_tensorboard({"/proc/no/such/folder"}, {},
                                      [&](const std::string& line) { notices.push_back(line); });
  board->update(0, 1, 0.1);
  board->epoch(record_of(1));
  board->end(TrainingEnd::finished);
  ASSERT_EQ(notices.size(), 1u);
  EXPECT_NE(notices[0].find("training goes on"), std::string::npos) << notices[0];
}

}  // namespace
}  // namespace macadam
