// The photos of a data set over the wire.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "image/image.h"
#include "kernels/device.h"
#include "tests/app/shared_folder.h"
#include "tests/serve/served.h"

namespace macadam {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

Image mask_of(const std::string& png) {
  return decode_label_indices({reinterpret_cast<const uint8_t*>(png.data()), png.size()}, "mask");
}

class GalleryApi : public SharedFolder<GalleryApi> {
 protected:
  static void SetUpTestSuite() {
    write_random_model(folder() / "m.safetensors");
    const fs::path set = folder() / "set";
    fs::create_directories(set / "images" / "val");
    fs::create_directories(set / "masks" / "val");
    std::string classes;
    for (int c = 0; c < 8; ++c) {
      classes += fmt::format("[[classes]]\nname = \"class {}\"\nids = [{}]\ncolor = [{}, 0, 0]\n",
                             c, c == 0 ? 23 : 2 * c, 30 * c);
    }
    write_text(set / "dataset.toml", "name = \"set\"\n" + classes);
    for (int i = 0; i < 3; ++i) {
      write_text(set / "images" / "val" / fmt::format("photo {}.png", i), png_photo(20, 30, i));
      Image mask(20, 30, 1);
      for (size_t p = 0; p < mask.pixels.size(); ++p) mask.pixels[p] = p < 300 ? 23 : 4;
      write_png(set / "masks" / "val" / fmt::format("photo {}.png", i), mask);
    }
    write_text(folder() / "secret.png", png_photo(9, 9, 77));
    fs::create_symlink(folder() / "secret.png", set / "images" / "val" / "link.png");
    fs::copy_file(set / "masks" / "val" / "photo 0.png", set / "masks" / "val" / "link.png");
    served_ = std::make_unique<Served>(
        folder(), std::vector<std::string>{"m.safetensors", "--gallery", "set"});
  }
  static void TearDownTestSuite() {
    served_.reset();
    SharedFolder::TearDownTestSuite();
  }
  static Served& served() { return *served_; }

 private:
  inline static std::unique_ptr<Served> served_;
};

TEST_F(GalleryApi, OneOfLinksAloneSaysSo) {
  const fs::path set = folder() / "links";
  fs::create_directories(set / "images" / "val");
  fs::create_directories(set / "masks" / "val");
  fs::copy_file(folder() / "set" / "dataset.toml", set / "dataset.toml");
  for (const char* kind : {"images", "masks"}) {
    fs::create_symlink(folder() / "set" / kind / "val" / "photo 0.png",
                       set / kind / "val" / "a.png");
  }
  expect_input_error(
      macadam(folder(), {"serve", "m.safetensors", "--gallery", "links", "--port", "0"}),
      {"links", "behind links", "copy them"});
}

TEST_F(GalleryApi, PhotosAreListedInPages) {
  const Json all = Json::parse(served().get("/v1/images").body);
  EXPECT_EQ(all["count"], 3) << "what leads out of the folder is left out";
  EXPECT_EQ(all["images"][0]["id"], "val.photo_0");
  EXPECT_EQ(all["images"][0]["labelled"], true);
  const Json page = Json::parse(served().get("/v1/images?offset=1&limit=1&split=val").body);
  EXPECT_EQ(page["images"].size(), 1u);
  EXPECT_EQ(page["images"][0]["id"], "val.photo_1");
  EXPECT_EQ(page["count"], 3);
  EXPECT_EQ(served().get("/v1/images?offset=99").status, 200);
  for (const char* query : {"limit=0", "limit=1001", "offset=-1", "limit=1e3", "limit=a",
                            "offset=99999999999", "page=1"}) {
    EXPECT_EQ(served().get(std::string("/v1/images?") + query).status, 400) << query;
  }
  EXPECT_EQ(served().get("/v1/images?split=none").status, 404);
}

TEST_F(GalleryApi, APhotoIsItsFile) {
  const Reply photo = served().get("/v1/images/val.photo_1");
  EXPECT_EQ(photo.status, 200);
  EXPECT_EQ(photo.body, read_text(folder() / "set/images/val/photo 1.png"));
  EXPECT_EQ(photo.field("content-type"), "image/png");
  EXPECT_EQ(photo.field("x-content-type-options"), "nosniff");
  const Reply small = served().get("/v1/images/val.photo_1/thumbnail?width=16");
  EXPECT_EQ(small.field("content-type"), "image/jpeg");
  EXPECT_EQ(small.body.substr(0, 2), "\xff\xd8");
}

TEST_F(GalleryApi, MasksAreClassesOfTheModel) {
  const Image mask = mask_of(served().get("/v1/images/val.photo_0/mask").body);
  EXPECT_EQ(mask.pixels.front(), 0) << "the id 23";
  EXPECT_EQ(mask.pixels.back(), 2) << "the id 4";
}

TEST_F(GalleryApi, PredictionsAreThoseOfTheApi) {
  const Reply raw = served().get("/v1/images/val.photo_2/prediction?format=raw");
  EXPECT_EQ(raw.body, served()
                          .ask("POST", "/v1/segment?format=raw",
                               read_text(folder() / "set/images/val/photo 2.png"))
                          .body);
  const Json metrics = Json::parse(served().get("/v1/images/val.photo_2/metrics").body);
  uint64_t right = 0, all = 0;
  for (size_t p = 0; p < 600; ++p, ++all) right += raw.body[p] == (p < 300 ? 0 : 2);
  EXPECT_NEAR(metrics["pixel_accuracy"].get<double>(), static_cast<double>(right) / 600, 1e-9);
  const std::string counted = "\nmacadam_encode_seconds_sum{model=\"m\",version=\"1\"} ";
  Served alone(folder(), {"m.safetensors", "--gallery", "set"}, true, "alone.log");
  EXPECT_EQ(alone.get("/v1/images/val.photo_2/prediction").status, 200);
  const std::string page = alone.get("/metrics").body;
  ASSERT_NE(page.find(counted), std::string::npos);
  EXPECT_GT(std::stod(page.substr(page.find(counted) + counted.size())), 0);
  EXPECT_EQ(metrics["confusion"].size(), 8u);
  EXPECT_EQ(metrics["iou"].size(), 8u);
}

TEST_F(GalleryApi, WhatIsUnchangedIsNotSentAgain) {
  for (const char* target :
       {"/v1/images/val.photo_0", "/v1/images/val.photo_0/mask", "/v1/images/val.photo_0/thumbnail",
        "/v1/images/val.photo_0/prediction", "/v1/images/val.photo_0/metrics"}) {
    const std::string tag = served().get(target).field("etag");
    ASSERT_FALSE(tag.empty()) << target;
    const Reply again = served().ask("GET", target, {}, {"If-None-Match: " + tag});
    EXPECT_EQ(again.status, 304) << target;
    EXPECT_EQ(again.body, "");
    EXPECT_EQ(served().ask("GET", target, {}, {"If-None-Match: \"other\""}).status, 200) << target;
  }
}

TEST_F(GalleryApi, WhatIsReplacedIsSentAnew) {
  const fs::path set = folder() / "replaced";
  fs::copy(folder() / "set", set, fs::copy_options::recursive | fs::copy_options::copy_symlinks);
  Served own(folder(), {"m.safetensors", "--gallery", "replaced"}, true, "replaced.log");
  const std::string photo = "/v1/images/val.photo_0";
  const auto tags_of = [&] {
    std::map<std::string, std::string> tags;
    for (const char* part : {"", "/thumbnail", "/prediction", "/mask", "/metrics"}) {
      tags[part] = own.get(photo + part).field("etag");
    }
    return tags;
  };
  const auto status = [&](const std::string& part, const std::string& tag) {
    return own.ask("GET", photo + part, {}, {"If-None-Match: " + tag}).status;
  };
  const auto scores = [&] { return Json::parse(own.get("/v1/scores").body)["images"]; };
  const auto first = tags_of();
  const Json first_metrics = Json::parse(own.get(photo + "/metrics").body);
  EXPECT_EQ(scores().size(), 1u);

  // Every pixel another class: the mask alone.
  Image mask(20, 30, 1);
  for (uint8_t& id : mask.pixels) id = 14;
  write_png(folder() / "new.png", mask);
  fs::rename(folder() / "new.png", set / "masks/val/photo 0.png");
  for (const char* same : {"", "/thumbnail", "/prediction"}) {
    EXPECT_EQ(status(same, first.at(same)), 304) << same;
  }
  EXPECT_EQ(scores().size(), 0u) << "they were of another mask";
  for (const char* part : {"/mask", "/metrics"}) {
    EXPECT_EQ(status(part, first.at(part)), 200) << part;
  }
  EXPECT_NE(Json::parse(own.get(photo + "/metrics").body), first_metrics);
  EXPECT_EQ(scores().size(), 1u);

  const auto second = tags_of();
  write_text(folder() / "new.png", png_photo(20, 30, 9));
  fs::rename(folder() / "new.png", set / "images/val/photo 0.png");
  for (const auto& [part, tag] : second) EXPECT_EQ(status(part, tag), 200) << part;
  EXPECT_EQ(own.get(photo).body, png_photo(20, 30, 9));
  const auto third = tags_of();
  for (const auto& [part, tag] : third) EXPECT_EQ(status(part, tag), 304) << part;
}

TEST_F(GalleryApi, PredictionsOfAnotherPrecisionHaveAnotherTag) {
  if (!device_info(parse_device("cpu")).bf16) GTEST_SKIP() << "this CPU has no bf16";
  std::map<std::string, std::set<std::string>> tags;
  for (const char* precision : {"fp32", "bf16"}) {
    Served own(folder(), {"m.safetensors", "--gallery", "set", "--precision", precision}, true,
               "precision.log");
    for (const char* part : {"", "/mask", "/prediction", "/metrics"}) {
      tags[part].insert(own.get(std::string("/v1/images/val.photo_1") + part).field("etag"));
    }
  }
  EXPECT_EQ(tags[""].size(), 1u);
  EXPECT_EQ(tags["/mask"].size(), 1u);
  EXPECT_EQ(tags["/prediction"].size(), 2u);
  EXPECT_EQ(tags["/metrics"].size(), 2u);
}

TEST_F(GalleryApi, NamesAreNeverPaths) {
  for (const std::string name :
       {"..", "%2e%2e", "..%2f..%2fsecret.png", "%2e%2e%2f%2e%2e%2fsecret.png", "%2fetc%2fpasswd",
        "..%5c..%5csecret.png", "val.link", "val.photo_0.", "%20", "val", "VAL.PHOTO_0",
        "val.photo_0%0a"}) {
    for (const char* part : {"", "/mask", "/prediction", "/metrics", "/thumbnail"}) {
      const Reply reply = served().get("/v1/images/" + name + part);
      EXPECT_TRUE(reply.status == 404 || reply.status == 400) << name << part << reply.status;
      EXPECT_EQ(reply.body.find("set/"), std::string::npos);
    }
  }
  EXPECT_EQ(served().get("/v1/images/" + std::string(10'000, 'a')).status, 404);
}

}  // namespace

}  // namespace macadam
