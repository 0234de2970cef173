#include "loader/pack.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>

#include "image/deflate.h"
#include "image/resize.h"
#include "loader/check.h"
#include "loader/loader.h"
#include "loader/pack_writer.h"
#include "loader/run_length.h"
#include "tests/image/support.h"

namespace macadam {
namespace {

using namespace macadam::testing;

TEST(RunLength, RoundTripsAndRefusesWhatDoesNotFit) {
  std::vector<uint8_t> labels(40'000, 7);
  for (size_t i = 0; i < 300; ++i) labels[i] = static_cast<uint8_t>(i * i / 50);
  const std::vector<uint8_t> runs = encode_runs(labels);
  EXPECT_LT(runs.size(), 600u);
  std::vector<uint8_t> again(labels.size());
  EXPECT_TRUE(decode_runs(runs, again));
  EXPECT_EQ(again, labels);

  std::vector<uint8_t> shorter(labels.size() - 1), longer(labels.size() + 1);
  EXPECT_FALSE(decode_runs(runs, shorter));
  EXPECT_FALSE(decode_runs(runs, longer));
  EXPECT_FALSE(decode_runs(std::span(runs).first(runs.size() - 1), again));
  std::vector<uint8_t> one(1);
  EXPECT_TRUE(decode_runs(std::vector<uint8_t>{3, 1}, one));
  EXPECT_FALSE(decode_runs(std::vector<uint8_t>{3, 0, 3, 1}, one));
  EXPECT_FALSE(decode_runs(std::vector<uint8_t>{3, 0x80, 0x80, 0x80, 0x80, 0x80, 1}, one));
  EXPECT_TRUE(encode_runs({}).empty());
}

/// Every byte of an epoch's batches.
std::vector<uint8_t> batches_of(const std::filesystem::path& root, const std::string& split,
                                const LabelSet& labels, int height, int width) {
  LoaderOptions options;
  options.height = height;
  options.width = width;
  options.batch = 2;
  options.threads = 2;
  options.shuffle = true;
  options.augmentation = std::make_shared<const Augmentation>(
      default_augmentation(), ImageSize{options.height, options.width});
  Loader loader(open_dataset(root, split), labels, options);
  loader.start(3);
  std::vector<uint8_t> bytes;
  for (int64_t i = 0; i < loader.batches(); ++i) {
    const Batch& batch = loader.next();
    for (const Tensor* part : {&batch.images, &batch.labels}) {
      const auto* first = static_cast<const uint8_t*>(part->data);
      bytes.insert(bytes.end(), first, first + part->shape.elements());
    }
    const auto* programs = reinterpret_cast<const uint8_t*>(batch.programs.data);
    bytes.insert(bytes.end(), programs,
                 programs + batch.programs.limits.bytes * batch.samples.size());
  }
  return bytes;
}

class PackOfCamVid : public ::testing::Test {
 protected:
  PackOfCamVid() {
    put_camvid(folder_ / "set", "train", 5, 20, 30, 12, 1);
    put_camvid(folder_ / "set", "val", 2, 24, 16, 12, 2);
  }
  std::filesystem::path set() const { return folder_ / "set"; }
  std::filesystem::path packed() const { return folder_ / "set.pack"; }
  PackSummary pack(const PackOptions& options = {.labels = LabelCoding::raw}) const {
    return write_pack(set(), labels_, packed(), options);
  }
  /// Changes one byte of the pack.
  void flip_byte(uint64_t offset) const {
    std::vector<uint8_t> bytes = get_bytes(packed());
    bytes.at(offset) ^= 0x10;
    put_bytes(packed(), bytes);
  }
  const PackRecord& record(const Pack& pack, size_t number) const {
    return pack.index().splits.at(0).records.at(number);
  }

  TemporaryFolder folder_;
  LabelSet labels_ = make_label_set("camvid11");
};

TEST_F(PackOfCamVid, HoldsSplitsNamesCountsAndTheLabelSet) {
  const PackSummary summary = pack();
  EXPECT_EQ(summary.samples, 7);
  EXPECT_EQ(summary.bytes, std::filesystem::file_size(packed()));
  EXPECT_EQ(list_splits(packed()), (std::vector<std::string>{"train", "val"}));
  EXPECT_EQ(recognize_layout(packed()), Layout::camvid);
  EXPECT_EQ(make_label_set("auto", VoidPolicy::standard, packed()).name, "camvid11");

  const Dataset train = open_dataset(packed(), "train"), source = open_dataset(set(), "train");
  EXPECT_EQ(train.name, "set");
  ASSERT_EQ(train.samples.size(), 5u);
  EXPECT_EQ(train.samples[2].id, source.samples[2].id);
  EXPECT_EQ(train.samples[2].sequence, source.samples[2].sequence);
  EXPECT_EQ(train.samples[2].image, "train/train_00002.png");
  EXPECT_EQ(train.samples[2].mask, "trainannot/train_00002.png");

  const Pack file(packed());
  const LabelSet& stored = file.index().label_set;
  EXPECT_EQ(stored.class_names, labels_.class_names);
  EXPECT_EQ(stored.palette, labels_.palette);
  EXPECT_EQ(stored.file_ids, labels_.file_ids);
  EXPECT_FALSE(stored.void_is_class);
  const CheckReport folder = check_dataset(set(), labels_);
  for (size_t s = 0; s < 2; ++s) {
    std::vector<uint64_t> pixels;
    for (const ClassFrequency& c : folder.splits[s].classes) pixels.push_back(c.pixels);
    EXPECT_EQ(file.index().splits[s].class_pixels, pixels);
    EXPECT_EQ(file.index().splits[s].ignored_pixels, folder.splits[s].ignored_pixels);
  }
  expect_input_error([&] { open_dataset(packed(), "test"); }, {"\"test\"", "train, val"});
}

TEST_F(PackOfCamVid, GivesTheFoldersBatchesBitForBit) {
  // At the network's size, where bytes are copied, and from full size by way of a resize.
  for (const bool runs : {false, true}) {
    PackOptions options{.labels = runs ? LabelCoding::runs : LabelCoding::raw};
    pack(options);
    EXPECT_EQ(batches_of(packed(), "train", labels_, 20, 30),
              batches_of(set(), "train", labels_, 20, 30));
    EXPECT_EQ(batches_of(packed(), "train", labels_, 12, 40),
              batches_of(set(), "train", labels_, 12, 40));
    options.height = 10;
    options.width = 18;
    pack(options);
    EXPECT_EQ(batches_of(packed(), "val", labels_, 10, 18),
              batches_of(set(), "val", labels_, 10, 18));
  }
}

TEST_F(PackOfCamVid, GivesTheFoldersBatchesOfReducedJpegs) {
  const Image photo = resize_bilinear(noise(8, 8, 3, 5), 64, 96);
  put_bytes(folder_ / "jpegs/train/a_1.jpg", make_jpeg(photo, 90));
  put_png(folder_ / "jpegs/trainannot/a_1.png", noise_mask(64, 96, 12, 6));
  write_pack(folder_ / "jpegs", labels_, packed(), {.height = 16, .width = 24});
  EXPECT_EQ(batches_of(packed(), "train", labels_, 16, 24),
            batches_of(folder_ / "jpegs", "train", labels_, 16, 24));
}

TEST_F(PackOfCamVid, HoldsPhotosAsJpegsThatLookTheSame) {
  const Image photo = resize_bilinear(noise(6, 9, 3, 5), 48, 72);
  put_png(folder_ / "smooth/train/a_1.png", photo);
  put_png(folder_ / "smooth/trainannot/a_1.png", noise_mask(48, 72, 12, 6));
  write_pack(folder_ / "smooth", labels_, packed(), {.jpeg_quality = 95});
  const Pack file(packed());
  EXPECT_EQ(file.index().photos, PhotoCoding::jpeg);
  EXPECT_LT(record(file, 0).photo_size, photo.pixels.size() / 2);
  const Image again = file.photo(record(file, 0));
  ASSERT_EQ(again.pixels.size(), photo.pixels.size());
  double error = 0;
  for (size_t i = 0; i < photo.pixels.size(); ++i) {
    error += std::abs(int{photo.pixels[i]} - int{again.pixels[i]});
  }
  EXPECT_LT(error / static_cast<double>(photo.pixels.size()), 4.0);
}

TEST_F(PackOfCamVid, HasTheSameBytesForAnyNumberOfThreads) {
  for (const int quality : {0, 80}) {
    pack({.jpeg_quality = quality, .labels = LabelCoding::runs, .threads = 1});
    const std::vector<uint8_t> one = get_bytes(packed());
    pack({.jpeg_quality = quality, .labels = LabelCoding::runs, .threads = 4});
    EXPECT_EQ(get_bytes(packed()), one);
  }
}

TEST_F(PackOfCamVid, OfAPackIsTheSamePack) {
  pack({});
  const auto copy = folder_ / "copy.pack";
  write_pack(packed(), make_label_set("camvid11", VoidPolicy::standard, packed()), copy, {});
  EXPECT_EQ(get_bytes(copy), get_bytes(packed()));
}

TEST_F(PackOfCamVid, NamesBothLabelSetsWhenAnotherIsAsked) {
  pack();
  EXPECT_EQ(make_label_set("camvid11", VoidPolicy::ignore, packed()).classes(), 11);
  expect_input_error([&] { make_label_set("trainids19", VoidPolicy::standard, packed()); },
                     {"camvid11 with void ignored", "trainids19", packed().string()});
  expect_input_error([&] { make_label_set("camvid11", VoidPolicy::as_class, packed()); },
                     {"void ignored", "void a class"});
  expect_input_error([&] { batches_of(packed(), "train", make_label_set("trainids19"), 20, 30); },
                     {"camvid11", "trainids19"});
  expect_input_error([&] { check_dataset(packed(), make_label_set("categories8")); },
                     {"camvid11", "categories8"});
  LabelSet other = labels_;
  other.class_names[2] = "mast";
  expect_input_error([&] { check_dataset(packed(), other); }, {"pole", "mast"});

  labels_ = make_label_set("camvid11", VoidPolicy::as_class);
  pack();
  EXPECT_EQ(make_label_set("camvid11", VoidPolicy::standard, packed()).classes(), 12);
}

TEST_F(PackOfCamVid, RefusesOtherFilesVersionsAndCutOnes) {
  pack();
  const std::vector<uint8_t> sound = get_bytes(packed());
  const auto expect = [&](const std::vector<uint8_t>& bytes, const std::string& what) {
    put_bytes(packed(), bytes);
    expect_input_error([&] { open_dataset(packed(), "train"); }, {what, packed().string()});
  };
  expect({}, "not a pack");
  expect({'P', 'K', 3, 4, 0, 0, 0, 0, 0, 0}, "not a pack");
  std::vector<uint8_t> bytes = sound;
  bytes[8] = 9;
  expect(bytes, "a pack of version 9, this program reads version 1");
  bytes = sound;
  bytes[20] ^= 1;
  expect(bytes, "the header of the pack is damaged");
  bytes = sound;
  bytes.back() ^= 1;
  expect(bytes, "the index of the pack is damaged");
  for (const size_t size : {size_t{8}, size_t{63}}) {
    expect({sound.begin(), sound.begin() + static_cast<ptrdiff_t>(size)}, "cut off");
  }
  for (const size_t size : {size_t{64}, size_t{5000}, sound.size() - 1}) {
    expect({sound.begin(), sound.begin() + static_cast<ptrdiff_t>(size)},
           std::to_string(size) + " of " + std::to_string(sound.size()) + " bytes");
  }
}

TEST_F(PackOfCamVid, RefusesAnIndexThatLeadsOutOfTheFile) {
  pack();
  const std::vector<uint8_t> sound = get_bytes(packed());
  const PackIndex index = Pack(packed()).index();
  const uint64_t end = 4096;
  const auto expect = [&](const PackIndex& wrong, const std::string& what) {
    const std::vector<uint8_t> tail = encode_pack_index(wrong);
    std::vector<uint8_t> bytes = encode_pack_header(tail, end);
    bytes.resize(end);
    bytes.insert(bytes.end(), tail.begin(), tail.end());
    expect_input_error([&] { parse_pack(bytes, "x.pack"); }, {what, "x.pack"});
  };
  PackIndex one = index;
  one.splits.resize(1);
  one.splits[0].records.resize(1);
  PackRecord& first = one.splits[0].records[0];
  const PackRecord sound_record = first;
  first.offset = end;
  expect(one, "outside the file");
  first.offset = UINT64_MAX;
  expect(one, "outside the file");
  first = sound_record;
  first.photo_size = UINT64_MAX - 10;
  expect(one, "outside the file");
  first = sound_record;
  first.labels_size += 1;
  expect(one, "another size");
  first = sound_record;
  one.labels = LabelCoding::runs;
  first.labels_size = UINT64_MAX - 10;
  expect(one, "outside the file");
  one.labels = LabelCoding::raw;
  first = sound_record;
  first.height = 0;
  expect(one, "size of an image");
  first.height = first.width = 30'000;
  expect(one, first.image + ": at most 268435456 pixels");
  first.height = 32'768;
  first.width = 1;
  expect(one, "1 x 32768 pixels");
  expect(one, first.image + ": at most 268435456 pixels and 32767 a side");
  first.height = 32'767;
  expect(one, "another size");  // than that of its bytes
  first = sound_record;
  for (const char* id : {"", "/tmp/x", "../x", "a/../../x"}) {  // they name output files
    first.id = id;
    expect(one, "the id of a record");
  }
  first = sound_record;
  one.label_set.class_names.clear();
  one.splits[0].class_pixels.clear();
  expect(one, "no class");

  // Every shorter index, with a checksum that holds.
  const std::vector<uint8_t> whole = encode_pack_index(index);
  for (size_t size = 0; size < whole.size(); ++size) {
    const auto part = std::span(whole).first(size);
    std::vector<uint8_t> bytes = encode_pack_header(part, sound.size());
    bytes.resize(sound.size());
    bytes.insert(bytes.end(), part.begin(), part.end());
    EXPECT_THROW(parse_pack(bytes, "x.pack"), InputError) << size;
  }
}

TEST_F(PackOfCamVid, NamesADamagedRecordAndLeavesItOutOnlyIfAsked) {
  pack();
  const PackRecord damaged = record(Pack(packed()), 3);
  flip_byte(damaged.offset + 11);
  const Pack file(packed());
  expect_input_error([&] { file.photo(record(file, 3)); },
                     {"train_00003", "the photo's checksum", packed().string()});
  EXPECT_NO_THROW(file.labels(record(file, 3)));
  expect_input_error([&] { batches_of(packed(), "train", labels_, 20, 30); }, {"train_00003"});
  EXPECT_NO_THROW(batches_of(packed(), "val", labels_, 20, 30));

  const CheckReport report = check_dataset(packed(), labels_);
  EXPECT_EQ(report.errors(), 1);
  EXPECT_NE(report.issues.at(0).what.find("train_00003"), std::string::npos);
  EXPECT_EQ(report.splits[0].samples, 4);

  const auto mended = folder_ / "mended.pack";
  expect_input_error([&] { write_pack(packed(), labels_, mended, {}); }, {"train_00003"});
  EXPECT_FALSE(std::filesystem::exists(mended));
  const PackSummary summary = write_pack(packed(), labels_, mended, {.skip_damaged = true});
  EXPECT_EQ(summary.samples, 6);
  ASSERT_EQ(summary.skipped.size(), 1u);
  EXPECT_NE(summary.skipped[0].find("train_00003"), std::string::npos);
  EXPECT_EQ(check_dataset(mended, labels_).errors(), 0);
}

TEST_F(PackOfCamVid, NamesDamagedLabels) {
  pack();
  const PackRecord damaged = record(Pack(packed()), 1);
  flip_byte(damaged.offset + damaged.photo_size);
  const Pack file(packed());
  expect_input_error([&] { file.labels(record(file, 1)); },
                     {"train_00001", "the labels' checksum"});
}

TEST_F(PackOfCamVid, LabelsAndCountsAreVerifiedWhereChecksumsHold) {
  pack();
  const std::vector<uint8_t> sound = get_bytes(packed());
  const PackIndex index = Pack(packed()).index();
  const auto rewrite = [&](std::vector<uint8_t> records, const PackIndex& changed) {
    const std::vector<uint8_t> tail = encode_pack_index(changed);
    const std::vector<uint8_t> header = encode_pack_header(tail, sound.size());
    std::copy(header.begin(), header.end(), records.begin());
    records.insert(records.end(), tail.begin(), tail.end());
    put_bytes(packed(), records);
  };
  PackIndex changed = index;
  changed.splits[1].class_pixels[0] += 1;
  rewrite(sound, changed);
  CheckReport report = check_dataset(packed(), labels_);
  EXPECT_EQ(report.errors(), 1);
  EXPECT_NE(report.issues.at(0).what.find("class counts of the split val"), std::string::npos);

  changed = index;
  PackRecord& first = changed.splits[0].records[0];
  std::vector<uint8_t> bytes = sound;
  const uint64_t at = first.offset + first.photo_size;
  bytes[at] = 11;  // one more than the last label
  first.labels_checksum = crc32(std::span(bytes).subspan(at, first.labels_size));
  rewrite(bytes, changed);
  report = check_dataset(packed(), labels_);
  EXPECT_EQ(report.errors(), 1);
  EXPECT_NE(report.issues.at(0).what.find("label that the label set does not have"),
            std::string::npos);
}

TEST_F(PackOfCamVid, StopsAtTheFirstBadSampleAndLeavesNothing) {
  Image mask = noise_mask(20, 30, 11, 9);
  *mask.at(3, 8) = 200;
  put_png(set() / "trainannot/train_00001.png", mask);
  put_text(set() / "train/train_00003.png", "no photo");
  for (const int threads : {1, 4}) {
    expect_input_error([&] { pack({.threads = threads}); }, {"label id 200", "train_00001"});
  }
  const auto files = std::filesystem::directory_iterator(folder_.path());
  EXPECT_EQ(std::distance(begin(files), end(files)), 1);  // the data set
  const PackSummary summary = pack({.skip_damaged = true});
  EXPECT_EQ(summary.samples, 5);
  EXPECT_EQ(summary.skipped.size(), 2u);
}

TEST_F(PackOfCamVid, AFullDiskOrAnInterruptionLeavesTheOldPack) {
  pack();
  const std::vector<uint8_t> old = get_bytes(packed());
  const auto expect_untouched = [&] {
    EXPECT_EQ(get_bytes(packed()), old);
    const auto files = std::filesystem::directory_iterator(folder_.path());
    EXPECT_EQ(std::distance(begin(files), end(files)), 2);
  };
  // A limit on file sizes stands for a full disk: both fail in the middle of a write.
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit limited = before;
  limited.rlim_cur = 5000;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limited), 0);
  std::string message;
  try {
    pack();
  } catch (const RunError& error) {
    message = error.what();
  }
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_NE(message.find(packed().string()), std::string::npos) << message;
  expect_untouched();

  struct Interruption {};
  const auto interrupt = [](int64_t done, int64_t) {
    if (done == 3) throw Interruption();
  };
  EXPECT_THROW(write_pack(set(), labels_, packed(), {}, interrupt), Interruption);
  expect_untouched();
}

TEST_F(PackOfCamVid, OfAWholeDataSetStandsForEverySplit) {
  put_text(folder_ / "plain/dataset.toml",
           "[[classes]]\nname = \"a\"\n[[classes]]\nname = \"b\"\n");
  put_png(folder_ / "plain/images/x.png", noise(4, 4, 3, 1));
  put_png(folder_ / "plain/masks/x.png", noise_mask(4, 4, 2, 1));
  write_pack(folder_ / "plain", make_label_set("custom", VoidPolicy::standard, folder_ / "plain"),
             packed(), {});
  EXPECT_EQ(open_dataset(packed(), "val").split, kWholeSplit);
  const LabelSet own = make_label_set("custom", VoidPolicy::ignore, packed());
  EXPECT_EQ(own.class_names, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(check_dataset(packed(), own).errors(), 0);
}

}  // namespace
}  // namespace macadam
