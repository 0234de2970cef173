#include "loader/label_set.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>

#include "base/rgb.h"
#include "base/to_size.h"
#include "tests/image/support.h"

namespace macadam {
namespace {

using namespace macadam::testing;

// The facts of cityscapesScripts helpers/labels.py for ids 0 to 33.
struct CityscapesRow {
  int id;
  const char* name;
  int train_id, category;
  bool ignored;
  Rgb color;
};
constexpr CityscapesRow kCityscapes[] = {
    {0, "unlabeled", 255, 0, true, {0, 0, 0}},
    {1, "ego vehicle", 255, 0, true, {0, 0, 0}},
    {2, "rectification border", 255, 0, true, {0, 0, 0}},
    {3, "out of roi", 255, 0, true, {0, 0, 0}},
    {4, "static", 255, 0, true, {0, 0, 0}},
    {5, "dynamic", 255, 0, true, {111, 74, 0}},
    {6, "ground", 255, 0, true, {81, 0, 81}},
    {7, "road", 0, 1, false, {128, 64, 128}},
    {8, "sidewalk", 1, 1, false, {244, 35, 232}},
    {9, "parking", 255, 1, true, {250, 170, 160}},
    {10, "rail track", 255, 1, true, {230, 150, 140}},
    {11, "building", 2, 2, false, {70, 70, 70}},
    {12, "wall", 3, 2, false, {102, 102, 156}},
    {13, "fence", 4, 2, false, {190, 153, 153}},
    {14, "guard rail", 255, 2, true, {180, 165, 180}},
    {15, "bridge", 255, 2, true, {150, 100, 100}},
    {16, "tunnel", 255, 2, true, {150, 120, 90}},
    {17, "pole", 5, 3, false, {153, 153, 153}},
    {18, "polegroup", 255, 3, true, {153, 153, 153}},
    {19, "traffic light", 6, 3, false, {250, 170, 30}},
    {20, "traffic sign", 7, 3, false, {220, 220, 0}},
    {21, "vegetation", 8, 4, false, {107, 142, 35}},
    {22, "terrain", 9, 4, false, {152, 251, 152}},
    {23, "sky", 10, 5, false, {70, 130, 180}},
    {24, "person", 11, 6, false, {220, 20, 60}},
    {25, "rider", 12, 6, false, {255, 0, 0}},
    {26, "car", 13, 7, false, {0, 0, 142}},
    {27, "truck", 14, 7, false, {0, 0, 70}},
    {28, "bus", 15, 7, false, {0, 60, 100}},
    {29, "caravan", 255, 7, true, {0, 0, 90}},
    {30, "trailer", 255, 7, true, {0, 0, 110}},
    {31, "train", 16, 7, false, {0, 80, 100}},
    {32, "motorcycle", 17, 7, false, {0, 0, 230}},
    {33, "bicycle", 18, 7, false, {119, 11, 32}},
};

/// What every label set promises.
void expect_sound(const LabelSet& set) {
  const auto classes = to_size(set.classes());
  ASSERT_EQ(set.palette.size(), classes);
  ASSERT_EQ(set.file_ids.size(), classes);
  EXPECT_EQ(std::set<Rgb>(set.palette.begin(), set.palette.end()).size(), classes);
  for (size_t c = 0; c < classes; ++c) {
    EXPECT_EQ(set.label_of_id[set.file_ids[c]], c) << set.class_names[c];
    EXPECT_TRUE(set.known_id[set.file_ids[c]]);
  }
  for (size_t id = 0; id < 256; ++id) {
    const uint8_t label = set.label_of_id[id];
    EXPECT_TRUE(label == kIgnore || label < classes) << id;
    EXPECT_TRUE(set.known_id[id] || label == kIgnore) << id;
  }
}

TEST(LabelSet, Categories8FollowsTheTable) {
  const LabelSet set = make_label_set("categories8");
  expect_sound(set);
  EXPECT_EQ(set.class_names, (std::vector<std::string>{"void", "flat", "construction", "object",
                                                       "nature", "sky", "human", "vehicle"}));
  EXPECT_TRUE(set.void_is_class);
  for (const auto& row : kCityscapes) {
    EXPECT_EQ(set.label_of_id[row.id], row.category) << row.name;
    EXPECT_TRUE(set.known_id[row.id]);
  }
  EXPECT_FALSE(set.known_id[34]);
  EXPECT_FALSE(set.known_id[255]);
  // Written ids are ids that the official evaluation counts (void has none).
  for (size_t c = 1; c < 8; ++c) EXPECT_FALSE(kCityscapes[set.file_ids[c]].ignored);
}

TEST(LabelSet, Categories8WithoutVoidShiftsByOne) {
  const LabelSet set = make_label_set("categories8", VoidPolicy::ignore);
  expect_sound(set);
  EXPECT_EQ(set.classes(), 7);
  EXPECT_EQ(set.class_names.front(), "flat");
  EXPECT_EQ(set.class_names.back(), "vehicle");
  EXPECT_FALSE(set.void_is_class);
  for (const auto& row : kCityscapes) {
    EXPECT_EQ(set.label_of_id[row.id], row.category == 0 ? kIgnore : row.category - 1) << row.name;
    EXPECT_TRUE(set.known_id[row.id]);
  }
}

TEST(LabelSet, TrainIds19FollowsTheTable) {
  const LabelSet set = make_label_set("trainids19");
  expect_sound(set);
  EXPECT_EQ(set.classes(), 19);
  for (const auto& row : kCityscapes) {
    EXPECT_EQ(set.label_of_id[row.id], row.train_id) << row.name;
    EXPECT_EQ(row.ignored, row.train_id == 255);
    if (row.train_id == 255) continue;
    const auto label = to_size(row.train_id);
    EXPECT_EQ(set.class_names[label], row.name);
    EXPECT_EQ(set.palette[label], row.color);
    EXPECT_EQ(set.file_ids[label], row.id);
  }
  const LabelSet with_void = make_label_set("trainids19", VoidPolicy::as_class);
  expect_sound(with_void);
  EXPECT_EQ(with_void.classes(), 20);
  EXPECT_EQ(with_void.label_of_id[9], 19);
}

TEST(LabelSet, CamVid11) {
  const LabelSet set = make_label_set("camvid11");
  expect_sound(set);
  EXPECT_EQ(set.classes(), 11);
  EXPECT_EQ(set.class_names[8], "car");
  for (size_t id = 0; id < 11; ++id) EXPECT_EQ(set.label_of_id[id], id);
  EXPECT_EQ(set.label_of_id[11], kIgnore);
  EXPECT_TRUE(set.known_id[11]);
  EXPECT_FALSE(set.known_id[12]);
  const LabelSet with_void = make_label_set("camvid11", VoidPolicy::as_class);
  expect_sound(with_void);
  EXPECT_EQ(with_void.classes(), 12);
  EXPECT_EQ(with_void.label_of_id[11], 11);
}

TEST(LabelSet, CustomIsReadFromTheDataSet) {
  const TemporaryFolder folder;
  put_text(folder / "dataset.toml", R"(
ignore = [9, 255]
[[classes]]
name = "ground"
ids = [4, 5]
color = [1, 2, 3]
[[classes]]
name = "thing"
)");
  const LabelSet set = make_label_set("custom", VoidPolicy::standard, folder.path());
  expect_sound(set);
  EXPECT_EQ(set.class_names, (std::vector<std::string>{"ground", "thing"}));
  EXPECT_EQ(set.palette[0], (Rgb{1, 2, 3}));
  EXPECT_EQ(set.file_ids, (std::vector<uint8_t>{4, 1}));
  EXPECT_EQ(set.label_of_id[5], 0);
  EXPECT_EQ(set.label_of_id[1], 1);
  EXPECT_TRUE(set.known_id[9]);
  EXPECT_EQ(set.label_of_id[9], kIgnore);
  EXPECT_FALSE(set.known_id[0]);
  const LabelSet with_void = make_label_set("custom", VoidPolicy::as_class, folder.path());
  expect_sound(with_void);
  EXPECT_EQ(with_void.label_of_id[255], 2);
}

TEST(LabelSet, BadCustomFilesAreNamed) {
  const TemporaryFolder folder;
  const auto expect_refused = [&](std::string_view text, std::vector<std::string> parts) {
    put_text(folder / "dataset.toml", text);
    parts.push_back("dataset.toml");
    expect_input_error([&] { make_label_set("custom", VoidPolicy::standard, folder.path()); },
                       parts);
  };
  expect_refused("", {"0 classes"});
  std::string many;
  for (int i = 0; i < 255; ++i) many += fmt::format("[[classes]]\nname = \"{}\"\n", i);
  expect_refused(many, {"255 classes", "give 1 to 254"});
  expect_refused("[[classes]\n", {"line 1", "TOML"});
  expect_refused("[[clases]]\nname = \"a\"\n", {"clases", "\"classes\""});
  expect_refused("[[classes]]\nids = [1]\n", {"no name", "line 1"});
  expect_refused("[[classes]]\nname = 3\n", {"\"name\" must be a text", "line 2"});
  expect_refused("[[classes]]\nname = \"a\"\nids = [256]\n", {"0 to 255", "line 3"});
  expect_refused("[[classes]]\nname = \"a\"\nids = 1\n", {"list of integers"});
  expect_refused("[[classes]]\nname = \"a\"\ncolor = [1, 2]\n", {"[red, green, blue]"});
  expect_refused("ignore = [0]\n[[classes]]\nname = \"a\"\n", {"id 0 is given twice"});
  expect_refused("ignore = []\nclasses = [1]\n", {"must be a table"});
  put_text(folder / "dataset.toml", "ignore = []\n[[classes]]\nname = \"a\"\n");
  expect_input_error([&] { make_label_set("custom", VoidPolicy::as_class, folder.path()); },
                     {"no id is void"});
  expect_input_error([&] { make_label_set("custom", VoidPolicy::standard, folder / "absent"); },
                     {"does not exist", "absent"});
  expect_input_error([] { make_label_set("custom"); }, {"custom", "name the data set"});
}

TEST(LabelSet, AnIdThatIsAClassIsNotIgnored) {
  const TemporaryFolder folder;
  put_text(folder / "dataset.toml",
           "[[classes]]\nname = \"ground\"\n[[classes]]\nname = \"crack\"\nids = [255]\n");
  const LabelSet set = make_label_set("auto", VoidPolicy::standard, folder.path());
  EXPECT_EQ(set.label_of_id[0], 0);
  EXPECT_EQ(set.label_of_id[255], 1);
}

/// Data sets of each kind of ids.
class LabelSetIds : public ::testing::Test {
 protected:
  LabelSetIds() {
    std::filesystem::create_directories(streets() / "leftImg8bit/train");
    std::filesystem::create_directories(camvid() / "trainannot");
    std::filesystem::create_directories(camvid() / "train");
    describe(own(), "[[classes]]\nname = \"road\"\n[[classes]]\nname = \"rest\"\n");
    std::filesystem::create_directories(own() / "images");
  }
  std::filesystem::path streets() const { return folder_ / "streets"; }
  std::filesystem::path camvid() const { return folder_ / "camvid"; }
  std::filesystem::path own() const { return folder_ / "own"; }
  void describe(const std::filesystem::path& root, std::string_view toml) {
    put_text(root / "dataset.toml", toml);
  }
  static LabelSet make(std::string_view name, const std::filesystem::path& root) {
    return make_label_set(name, VoidPolicy::standard, root);
  }

  TemporaryFolder folder_;
};

TEST_F(LabelSetIds, TheDefaultIsTheDataSetsOwn) {
  EXPECT_EQ(make("auto", streets()).name, "categories8");
  EXPECT_TRUE(make("auto", streets()).void_is_class);
  EXPECT_EQ(make("auto", camvid()).name, "camvid11");
  EXPECT_FALSE(make("auto", camvid()).void_is_class);
  EXPECT_EQ(make("auto", own()).name, "custom");
  EXPECT_EQ(make_label_set("auto", VoidPolicy::as_class, camvid()).classes(), 12);
}

TEST_F(LabelSetIds, OtherIdsAreRefusedWithTheWayToMapThem) {
  expect_input_error([&] { make("trainids19", camvid()); },
                     {"trainids19", "Cityscapes ids", "CamVid ids", "camvid11", "dataset.toml"});
  expect_input_error([&] { make("camvid11", streets()); },
                     {"camvid11", "Cityscapes ids", "categories8"});
  expect_input_error([&] { make("custom", camvid()); }, {"custom", "CamVid ids", "camvid11"});
  expect_input_error([&] { make("categories8", own()); },
                     {"categories8", "ids of its dataset.toml", "custom", "label_ids"});
  expect_input_error([&] { make("categorys8", own()); }, {"did you mean \"categories8\""});
}

TEST_F(LabelSetIds, DatasetTomlMapsThem) {
  describe(camvid(),
           "ignore = [11]\n[[classes]]\nname = \"road\"\nids = [3]\n[[classes]]\n"
           "name = \"rest\"\nids = [0, 1, 2, 4, 5, 6, 7, 8, 9, 10]\n");
  const LabelSet mapped = make("auto", camvid());
  EXPECT_EQ(mapped.name, "custom");
  EXPECT_EQ(mapped.label_of_id[3], 0);
  expect_input_error([&] { make("camvid11", camvid()); }, {"camvid11", "custom"});

  describe(own(), "label_ids = \"cityscapes\"\n");
  EXPECT_EQ(make("auto", own()).name, "categories8");
  EXPECT_EQ(make("trainids19", own()).classes(), 19);
  expect_input_error([&] { make("custom", own()); }, {"custom", "Cityscapes ids"});
  describe(own(), "label_ids = \"cityscapes\"\n[[classes]]\nname = \"road\"\n");
  expect_input_error([&] { make("auto", own()); }, {"\"classes\" beside \"label_ids\""});
  describe(own(), "label_ids = \"kitti\"\n");
  expect_input_error([&] { make("auto", own()); }, {"kitti", "\"camvid\"", "line 1"});
}

TEST_F(LabelSetIds, ClassesAreThoseOfAModel) {
  const LabelSet trained = make("trainids19", streets());
  const ClassList model{"the model", trained.name, false, trained.class_names};
  EXPECT_EQ(make_label_set_like(model, streets()).label_of_id[7], 0);
  expect_input_error([&] { make_label_set_like(model, camvid()); },
                     {"trainids19 of the model", "CamVid ids", "on purpose", "dataset.toml"});
  expect_input_error([&] { make_label_set_like(model, own()); },
                     {"2 classes, but the model has 19"});

  const LabelSet two = make("custom", own());
  const ClassList custom{"the model", two.name, false, two.class_names};
  expect_input_error([&] { make_label_set_like(custom, streets()); },
                     {"custom of the model", "Cityscapes ids"});
  // The same classes under other ids; dataset.toml is what says so.
  describe(camvid(),
           "[[classes]]\nname = \"road\"\nids = [3]\n[[classes]]\nname = \"rest\"\n"
           "ids = [0, 8]\n");
  EXPECT_EQ(make_label_set_like(custom, camvid()).label_of_id[8], 1);
  describe(camvid(), "[[classes]]\nname = \"rest\"\n[[classes]]\nname = \"road\"\n");
  expect_input_error([&] { make_label_set_like(custom, camvid()); },
                     {"class 0 is \"rest\", but \"road\" in the model", camvid().string()});
}

TEST(LabelSet, UnknownNamesAreAnsweredWithTheNearest) {
  expect_input_error([] { make_label_set("trainid19"); }, {"trainid19", "\"trainids19\""});
  expect_input_error([] { make_label_set("camvid"); }, {"\"camvid11\""});
  EXPECT_EQ(parse_void_policy("class"), VoidPolicy::as_class);
  EXPECT_EQ(parse_void_policy("ignore"), VoidPolicy::ignore);
  EXPECT_EQ(parse_void_policy("auto"), VoidPolicy::standard);
  expect_input_error([] { parse_void_policy("drop"); }, {"drop", "ignore"});
}

TEST(LabelSet, UnknownIdsAreLocated) {
  const LabelSet set = make_label_set("camvid11");
  Image mask = noise_mask(20, 30, 12, 1);
  EXPECT_FALSE(find_unknown_id(mask, set).has_value());
  *mask.at(13, 7) = 99;
  const auto unknown = find_unknown_id(mask, set);
  ASSERT_TRUE(unknown.has_value());
  EXPECT_EQ(unknown->id, 99);
  EXPECT_EQ(unknown->y, 13);
  EXPECT_EQ(unknown->x, 7);
  expect_input_error([&] { throw_unknown_id(*unknown, "a/mask.png", set); },
                     {"a/mask.png", "99", "x=7", "y=13", "camvid11"});
}

TEST(LabelSet, MasksAreResizedAndMapped) {
  const LabelSet set = make_label_set("categories8", VoidPolicy::ignore);
  Image mask(2, 4, 1);
  mask.pixels = {7, 7, 26, 26, 0, 0, 23, 23};
  std::vector<uint8_t> labels(2 * 2);
  EXPECT_FALSE(resize_to_labels(mask, set, 2, 2, labels).has_value());
  EXPECT_EQ(labels, (std::vector<uint8_t>{0, 6, kIgnore, 4}));

  std::fill(mask.pixels.begin(), mask.pixels.end(), uint8_t{200});
  const auto unknown = resize_to_labels(mask, set, 1, 1, std::span(labels).first(1));
  ASSERT_TRUE(unknown.has_value());
  EXPECT_EQ(unknown->id, 200);
  EXPECT_EQ(unknown->y, 1);  // of the mask as it lies on disk
  EXPECT_EQ(unknown->x, 2);
}

}  // namespace
}  // namespace macadam
