#include "run/config.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "run/config_keys.h"
#include "run/key_synonyms.h"
#include "run/loss_expression.h"
#include "tests/paths.h"
#include "tests/run/config_complaints.h"

using namespace macadam;
using macadam::testing::complaint, macadam::testing::expect_complaint, macadam::testing::kFile,
    macadam::testing::kMinimal, macadam::testing::parse;

namespace {

void expect_override_complaint(const std::string& override_text,
                               const std::vector<std::string>& parts) {
  const std::string message = complaint(kMinimal, {override_text});
  for (const std::string& part : parts) {
    EXPECT_NE(message.find(part), std::string::npos) << override_text << " -> " << message;
  }
}

// Every key, none at its default.
const std::string kEverything = R"(
network = {name = "vgg16_unet", dropout = 0.25, norm = "batch", deep = true, width = 32}
dataset = {train = "/a", val = "b/../c", test = "/d \"quoted\" \\ ü"}
label_set = "trainids19"
void = "class"
size = [128, 320]
batch = 7
epochs = 55
loss = "0.5*ce + 2*dice"
class_weights = [1, 0.5, 2.25]
label_smoothing = 0.1
dice_absent = "suppress"
dice_smooth = 1e-5
teacher = "big.safetensors"
teacher_weight = 6
teacher_temperature = 2.5
optimizer = "sgd"
lr = 0.02
weight_decay = 1e-4
momentum = 0.8
nesterov = true
accumulate = 4
clip_norm = 0.5
ema = 0.999
schedule = "poly"
min_lr = 1e-6
warmup = 2.5
freeze = [{pattern = "encoder.*", epochs = 5}, "*.bias", {pattern = "a\"b\\"}]
encoder_lr = 0.125
freeze_batch_norm = "encoder"
precision = "bf16"
device = "cuda:1"
seed = 9223372036854775807
name = "try 2"
runs = "../all runs"
weights = "start.safetensors"
augment = [
  {name = "RandomCrop", height = 64, class_uniform = 0.5},
  {name = "HorizontalFlip", p = 0.3},
  {name = "OneOf", transforms = [{name = "Blur"}, {name = "GaussNoise", var_limit = 30, p = 0.2}]},
]
checkpoint_seconds = 12.5
[normalization]
mean = [0, 0.25, 0.1]
std = [1, 0.5, 0.3]
range = 255
bgr = true
[loader]
threads = 3
cache = 0
device_cache = 7
reduced_decoding = false
strict = false
[early_stopping]
patience = 4
[metrics]
absent = "zero"
)";

void expect_everything(const Config& c) {
  EXPECT_EQ(c.network, "vgg16_unet");
  EXPECT_EQ(c.network_options,
            (std::map<std::string, std::string>{
                {"deep", "true"}, {"dropout", "0.25"}, {"norm", "batch"}, {"width", "32"}}));
  EXPECT_EQ(c.dataset, (DatasetPaths{"/a", "/data/runs/c", "/d \"quoted\" \\ ü"}));
  EXPECT_EQ(c.label_set, "trainids19");
  EXPECT_EQ(c.void_policy, VoidPolicy::as_class);
  EXPECT_EQ(c.height, 128);
  EXPECT_EQ(c.width, 320);
  EXPECT_EQ(c.batch, 7);
  EXPECT_EQ(c.epochs, 55);
  EXPECT_EQ(loss_text(c.loss), "0.5*ce + 2*dice");
  EXPECT_EQ(c.class_weights, (std::vector<float>{1, 0.5f, 2.25f}));
  EXPECT_EQ(c.loss.terms[0].parameters[0], 0.1f);
  EXPECT_EQ(c.loss.absent, AbsentClass::suppress);
  EXPECT_EQ(c.loss.terms[1].parameters[0], 1e-5f);
  EXPECT_EQ(c.teacher, "/data/runs/big.safetensors");
  EXPECT_EQ(c.distill.weight, 6.0f);
  EXPECT_EQ(c.distill.temperature, 2.5f);
  EXPECT_EQ(c.optimizer.kind, OptimizerKind::sgd);
  EXPECT_EQ(c.lr, 0.02);
  EXPECT_EQ(c.optimizer.weight_decay, 1e-4f);
  EXPECT_EQ(c.optimizer.sgd.momentum, 0.8f);
  EXPECT_TRUE(c.optimizer.sgd.nesterov);
  EXPECT_EQ(c.optimizer.accumulate, 4);
  EXPECT_EQ(c.optimizer.clip_norm, 0.5f);
  EXPECT_EQ(c.optimizer.ema, 0.999f);
  EXPECT_EQ(c.schedule, ScheduleKind::poly);
  EXPECT_EQ(c.min_lr, 1e-6);
  EXPECT_EQ(c.warmup, 2.5);
  EXPECT_EQ(
      c.fine_tuning,
      (FineTuning{{{"encoder.*", 5}, {"*.bias"}, {"a\"b\\"}}, 0.125f, FrozenBatchNorms::encoder}));
  EXPECT_EQ(c.precision, Precision::bf16);
  EXPECT_EQ(c.device, "cuda:1");
  EXPECT_EQ(c.seed, 9223372036854775807u);
  EXPECT_EQ(c.name, "try 2");
  EXPECT_EQ(c.runs, "/data/all runs");
  EXPECT_EQ(c.weights, "/data/runs/start.safetensors");
  EXPECT_EQ(c.augment,
            (AugmentList{{RandomCrop{.height = 64, .width = 320, .class_uniform = 0.5}, 1},
                         {HorizontalFlip{}, 0.3},
                         {OneOf{{{Blur{}, 0.5}, {GaussNoise{.var_limit = {0, 30}}, 0.2}}}, 0.5}}));
  EXPECT_EQ(c.checkpoint_seconds, 12.5);
  EXPECT_EQ(c.normalization, (Normalization{{0, 0.25f, 0.1f}, {1, 0.5f, 0.3f}, 255, true}));
  EXPECT_EQ(c.loader_threads, 3);
  EXPECT_EQ(c.loader_cache, 0);
  EXPECT_EQ(c.device_cache, 7);
  EXPECT_FALSE(c.reduced_decoding);
  EXPECT_FALSE(c.strict);
  EXPECT_EQ(c.patience, 4);
  EXPECT_EQ(c.absent, AbsentRule::zero);
}

}  // namespace

TEST(Config, TwoKeysAreEnough) {
  const Config c = parse(kMinimal);
  EXPECT_EQ(c.network, "unet_mini");
  EXPECT_TRUE(c.network_options.empty());
  EXPECT_EQ(c.dataset, (DatasetPaths{"/data/streets", "/data/streets", "/data/streets"}));
  EXPECT_EQ(c.label_set, "auto");
  EXPECT_EQ(c.void_policy, VoidPolicy::standard);
  EXPECT_EQ(c.height, 256);
  EXPECT_EQ(c.width, 512);
  EXPECT_EQ(c.batch, 4);
  EXPECT_EQ(c.epochs, 30);
  EXPECT_EQ(loss_text(c.loss), "ce + dice");
  EXPECT_TRUE(c.class_weights.empty());
  EXPECT_EQ(c.optimizer.kind, OptimizerKind::adamw);
  EXPECT_EQ(c.optimizer.weight_decay, 0.01f);
  EXPECT_EQ(c.lr, 1e-3);
  EXPECT_EQ(c.optimizer.accumulate, 1);
  EXPECT_EQ(c.optimizer.clip_norm, 0.f);
  EXPECT_EQ(c.optimizer.ema, 0.f);
  EXPECT_EQ(c.schedule, ScheduleKind::cosine);
  EXPECT_EQ(c.warmup, 1.0);
  EXPECT_EQ(c.fine_tuning, FineTuning{});
  EXPECT_EQ(c.precision, Precision::automatic);
  EXPECT_EQ(c.device, "auto");
  EXPECT_EQ(c.seed, 1u);
  EXPECT_EQ(c.name, "unet_mini");
  EXPECT_EQ(c.runs, (std::filesystem::current_path() / "runs").string());
  EXPECT_EQ(c.weights, "");
  EXPECT_EQ(c.augment, (AugmentList{{HorizontalFlip{}, 0.5}}));
  EXPECT_EQ(c.normalization, Normalization{});
  EXPECT_TRUE(c.reduced_decoding);
  EXPECT_TRUE(c.strict);
  EXPECT_EQ(c.patience, 10);
  EXPECT_EQ(c.absent, AbsentRule::drop);
}

TEST(Config, EveryKeyIsRead) { expect_everything(parse(kEverything)); }

TEST(Config, TheResolvedConfigurationComesBackTheSame) {
  const std::string resolved = to_toml(parse(kEverything));
  const Config again = parse_config(resolved, "/elsewhere/config.toml");
  expect_everything(again);
  EXPECT_EQ(to_toml(again), resolved);

  const std::string defaults = to_toml(parse(kMinimal));
  EXPECT_EQ(to_toml(parse_config(defaults, "/elsewhere/config.toml")), defaults);
}

TEST(Config, TheResolvedConfigurationLeavesNothingToDefaults) {
  const std::string resolved = to_toml(parse(kMinimal));
  for (const char* key : {"network",
                          "dataset",
                          "label_set",
                          "void",
                          "size",
                          "batch",
                          "epochs",
                          "loss",
                          "class_weights",
                          "label_smoothing",
                          "dice_absent",
                          "dice_smooth",
                          "optimizer",
                          "lr",
                          "weight_decay",
                          "betas",
                          "accumulate",
                          "clip_norm",
                          "ema",
                          "schedule",
                          "min_lr",
                          "warmup",
                          "freeze",
                          "encoder_lr",
                          "freeze_batch_norm",
                          "precision",
                          "device",
                          "seed",
                          "name",
                          "runs",
                          "weights",
                          "augment",
                          "checkpoint_seconds",
                          "mean",
                          "std",
                          "range",
                          "bgr",
                          "threads",
                          "cache",
                          "reduced_decoding",
                          "patience",
                          "absent"}) {
    EXPECT_NE(("\n" + resolved).find(std::string("\n") + key + " = "), std::string::npos) << key;
  }
}

TEST(Config, DefaultsFollowTheirContext) {
  EXPECT_EQ(parse(kMinimal + "optimizer = \"sgd\"").lr, 1e-2);
  EXPECT_EQ(parse(kMinimal + "optimizer = \"sgd\"").optimizer.weight_decay, 5e-4f);
  EXPECT_DOUBLE_EQ(parse(kMinimal + "epochs = 2").warmup, 0.2);
  EXPECT_TRUE(parse(kMinimal + "augment = []").augment.empty());
  EXPECT_EQ(parse(kMinimal + "augment = [{name = \"RandomCrop\"}]\nsize = [48, 64]").augment,
            (AugmentList{{RandomCrop{.height = 48, .width = 64}, 1}}));
}

TEST(Config, OverridesWin) {
  const Config c = parse(
      kMinimal + "batch = 2\n[loader]\nthreads = 1\n",
      {"batch=8", "loader.threads=2", "loader.cache = 5", "size=[64, 96]", "loss=0.5*ce + dice",
       "name=3", "lr=1e-4", "early_stopping.patience=0", "seed=1", "seed=2"});
  EXPECT_EQ(c.batch, 8);
  EXPECT_EQ(c.loader_threads, 2);
  EXPECT_EQ(c.loader_cache, 5);
  EXPECT_EQ(c.height, 64);
  EXPECT_EQ(loss_text(c.loss), "0.5*ce + dice");
  EXPECT_EQ(c.name, "3");
  EXPECT_EQ(c.lr, 1e-4);
  EXPECT_EQ(c.patience, 0);
  EXPECT_EQ(c.seed, 2u);
  EXPECT_EQ(parse(kMinimal, {"augment=[{name = \"Blur\", blur_limit = 5}]"}).augment,
            (AugmentList{{Blur{.blur_low = 3, .blur_high = 5}, 0.5}}));
  EXPECT_EQ(parse(kMinimal, {"freeze=[\"down*\"]"}).fine_tuning.freeze,
            (std::vector<FreezeRule>{{"down*"}}));
}

TEST(Config, OverridesOfNetworkAndDatasetWorkOnTheShortForm) {
  const Config c = parse(kMinimal, {"network.dropout=0.1", "dataset.val=other"});
  EXPECT_EQ(c.network, "unet_mini");
  EXPECT_EQ(c.network_options.at("dropout"), "0.1");
  EXPECT_EQ(c.dataset.train, "/data/streets");
  EXPECT_EQ(c.dataset.val, (std::filesystem::current_path() / "other").string());

  const Config other =
      parse("network = {name = \"a\", x = 1}\ndataset = {train = \"t\", val = \"v\"}",
            {"network=b", "dataset=/d"});
  EXPECT_EQ(other.network, "b");
  EXPECT_TRUE(other.network_options.empty());
  EXPECT_EQ(other.dataset, (DatasetPaths{"/d", "/d", "/d"}));
}

TEST(Config, OverridesAloneMakeAConfiguration) {
  EXPECT_EQ(parse("", {"network=unet", "dataset=/d"}).network, "unet");
}

TEST(Config, RelativePathsInOverridesAreSeenFromTheCurrentFolder) {
  const auto here = std::filesystem::current_path();
  const Config c = parse(kMinimal, {"dataset=streets", "weights=w.safetensors"});
  EXPECT_EQ(c.dataset.train, (here / "streets").string());
  EXPECT_EQ(c.weights, (here / "w.safetensors").string());
}

TEST(Config, OverridesOfTextsAreTakenAsTheyStand) {
  for (const char* name : {"2024-11-28", "2024-11-28T10:00:00Z", "10:30:00", "1e5", "true", "0x1F",
                           "a b", "-3", "inf"}) {
    EXPECT_EQ(parse(kMinimal, {std::string("name=") + name}).name, name);
  }
  EXPECT_EQ(parse(kMinimal, {"name=\"3\""}).name, "3");
  EXPECT_EQ(parse(kMinimal, {"network.since=2024-11-28"}).network_options.at("since"),
            "2024-11-28");
}

TEST(Config, AFolderIsTheSameWithASlashBehind) {
  EXPECT_EQ(parse("network = \"n\"\ndataset = \"../streets/\"").dataset.train, "/data/streets");
  EXPECT_EQ(parse(kMinimal, {"dataset=/a/b//", "runs=/"}).dataset.val, "/a/b");
  EXPECT_EQ(parse(kMinimal, {"runs=/"}).runs, "/");
  EXPECT_EQ(parse(kMinimal, {"dataset=."}).dataset.train, std::filesystem::current_path().string());
}

TEST(Config, KnowsWhatWasGiven) {
  const Config c = parse(kMinimal + "[loader]\nthreads = 2", {"warmup=0.5"});
  EXPECT_EQ(c.given,
            (std::set<std::string, std::less<>>{"network", "dataset", "loader.threads", "warmup"}));
}

TEST(Config, UnknownKeysNameTheNearest) {
  expect_complaint("bacth = 3", {"unknown key 'bacth'", "first.toml:3", "did you mean 'batch'?"});
  expect_complaint("patience = 3", {"'early_stopping.patience'"});
  expect_complaint("\n\n[loader]\nthread = 3", {"'loader.thread'", ":6", "'loader.threads'"});
  expect_complaint("[optimiser]\nlr = 3", {"unknown key 'optimiser'", "'optimizer'"});
  expect_complaint("clip_grad_norm = 1", {"unknown key 'clip_grad_norm'", "'clip_norm'"});
  expect_complaint("accumulation = 2", {"unknown key 'accumulation'", "'accumulate'"});
  expect_complaint("ema_decay = 0.9", {"unknown key 'ema_decay'"});
  expect_override_complaint("epoch=3", {"unknown key 'epoch'", "'epoch=3'", "'epochs'"});
  EXPECT_NE(complaint("netwrok = \"a\"\ndataset = \"b\"").find("did you mean 'network'"),
            std::string::npos);
}

TEST(Config, KeysOfOtherToolsAreTranslated) {
  expect_complaint("learning_rate = 0.1", {"unknown key 'learning_rate'", ":3", "'lr' here"});
  expect_override_complaint("Batch-Size=3", {"unknown key 'Batch-Size'", "'batch' here"});
  expect_complaint("[train]\nimgsz = 640", {"unknown key 'train'"});
  expect_complaint("[loader]\nnum_workers = 4", {"'loader.num_workers'", "'loader.threads' here"});
  expect_complaint("num_classes = 19", {"there is no such key", "label_set"});

  // Every name in the table: refused, and answered by a key that there is.
  const std::string keys = keys_markdown() + "`dataset.train` `dataset.val` `dataset.test`";
  for (const KeySynonym& synonym : key_synonyms()) {
    const std::string message = complaint(kMinimal, {std::string(synonym.key) + "=1"});
    EXPECT_NE(message.find("unknown key '" + std::string(synonym.key) + "'"), std::string::npos)
        << message;
    if (synonym.ours.empty()) {
      EXPECT_FALSE(synonym.why.empty()) << synonym.key;
      continue;
    }
    EXPECT_NE(keys.find("`" + std::string(synonym.ours) + "`"), std::string::npos) << synonym.ours;
    EXPECT_NE(message.find("'" + std::string(synonym.ours) + "' here"), std::string::npos)
        << message;
  }
}

TEST(Config, WrongTypesNameTheExpectedOne) {
  expect_complaint("batch = \"four\"", {"'batch' is a string", ":3", "an integer from 1", "auto"});
  expect_complaint("batch = 4.0", {"'batch' is a number", "an integer"});
  expect_complaint("accumulate = 2.5", {"'accumulate' is a number", "an integer"});
  expect_complaint("ema = true", {"'ema' is true or false", "a number"});
  expect_complaint("lr = true", {"'lr' is true or false", "a number"});
  expect_complaint("size = 256", {"'size' is an integer", "a list of 2 numbers"});
  expect_complaint("size = [1, 2, 3]", {"'size' has 3 values"});
  expect_complaint("size = [1, 2.5]", {"'size' holds a fraction"});
  expect_complaint("size = [256, \"x\"]", {"'size' holds a string"});
  expect_complaint("label_set = 3", {"'label_set' is an integer", "a string"});
  expect_complaint("name = 1979-05-27", {"'name' is a date"});
  expect_complaint("loader = 3", {"'loader' is an integer", "'threads'"});
  expect_complaint("optimizer = \"sgd\"\nnesterov = 1", {"'nesterov' is an integer", ":4"});
  expect_complaint("class_weights = 1", {"'class_weights' is an integer"});
  expect_complaint("augment = \"HorizontalFlip\"", {"augment is a string", ":3"});
  expect_complaint("freeze = \"encoder.*\"", {"'freeze' is a string", ":3", "[\"encoder.*\"]"});
  expect_complaint("freeze = [3]", {"'freeze' holds an integer"});
  expect_complaint("freeze = [{pattern = 3}]", {"'freeze' holds an integer as 'pattern'"});
  expect_complaint("freeze = [{pattern = \"a\", epochs = 1.5}]", {"a number as 'epochs'"});
  expect_complaint("encoder_lr = \"slow\"", {"'encoder_lr' is a string", "a number"});
  expect_complaint("normalization.bgr = 1", {"'normalization.bgr' is an integer"});
  expect_override_complaint("batch=four", {"'batch' is a string", "'batch=four'"});
  expect_override_complaint("network.a=[1]", {"'network.a' is a list"});
  expect_override_complaint("batch.size=3", {"'batch' is a table", "'batch.size=3'"});
  EXPECT_NE(complaint(kMinimal + "batch = 3", {"batch.size=3"}).find("'batch' has no keys below"),
            std::string::npos);
}

TEST(Config, ValuesOutOfRangeAreNamed) {
  expect_complaint("batch = 0", {"'batch' is 0", "from 1 to"});
  expect_complaint("epochs = -1", {"'epochs' is -1"});
  expect_complaint("lr = nan", {"'lr' is nan"});
  expect_complaint("lr = 0", {"'lr' is 0"});
  expect_complaint("min_lr = 0.5", {"'min_lr' is 0.5"});
  expect_complaint("warmup = 31", {"'warmup' is 31", "from 0 to 30"});
  expect_complaint("size = [0, 1]", {"'size' holds 0"});
  expect_complaint("seed = -1", {"'seed' is -1"});
  expect_complaint("label_smoothing = 1", {"'label_smoothing' is 1"});
  expect_complaint("betas = [0.9, 1]", {"'betas' holds 1"});
  expect_complaint("accumulate = 0", {"'accumulate' is 0", "from 1 to"});
  expect_complaint("clip_norm = -1", {"'clip_norm' is -1"});
  const std::string taught = "teacher = \"big.safetensors\"\n";
  for (const char* value : {"0", "-1", "nan"}) {
    expect_complaint(taught + "teacher_weight = " + value, {"'teacher_weight' is ", value});
    expect_complaint(taught + "teacher_temperature = " + value, {"'teacher_temperature' is "});
  }
  expect_complaint("ema = 1", {"'ema' is 1", "from 0 to 0.999999"});
  expect_complaint("class_weights = [1, -1]", {"'class_weights' holds -1"});
  expect_complaint("class_weights = [0, 0]", {"no positive weight"});
  expect_complaint("class_weights = []", {"no positive weight"});
  expect_complaint("class_weights = \"all\"", {"'all'", "\"none\"", "\"enet\""});
  expect_complaint("class_weights = \"balanced\"\nclass_weights_cap = 0.5",
                   {"'class_weights_cap' is 0.5", "1 to 1000000"});
  expect_complaint("class_weights = \"effective_number\"\nclass_weights_beta = 1",
                   {"'class_weights_beta' is 1"});
  expect_complaint("normalization.std = [1, 1, 0]", {"'normalization.std' holds 0"});
  expect_complaint("normalization.range = 0", {"'normalization.range' is 0"});
  expect_complaint("name = \"../up\"", {"'name' is '../up'"});
  expect_complaint("encoder_lr = 0", {"'encoder_lr' is 0"});
  expect_complaint("freeze = [{pattern = \"a\", epochs = 0}]", {"freezes 'a' for 0 epochs"});
  expect_complaint("freeze = [{epochs = 3}]", {"'freeze' holds a rule without a pattern"});
  expect_complaint("freeze = [\"\"]", {"'freeze' holds a rule without a pattern"});
  expect_complaint("freeze = [\"a\", {pattern = \"a\", epochs = 3}]", {"'a' twice"});
  expect_complaint("name = \"\"", {"'name' is ''"});
  expect_complaint("runs = \"\"", {"'runs' is empty"});
}

TEST(Config, WrongWordsNameTheNearest) {
  expect_complaint("optimizer = \"adam\"", {"'adam'", "did you mean \"adamw\"?", "\"sgd\""});
  expect_complaint("schedule = \"cosin\"", {"did you mean \"cosine\"?"});
  expect_complaint("precision = \"fp8\"", {"did you mean \"fp"});
  expect_complaint("freeze_batch_norm = \"encoders\"", {"did you mean \"encoder\"?", "\"all\""});
  expect_complaint("freeze = [{patern = \"a\"}]", {"'patern'", "pattern = "});
  expect_complaint("void = \"ignored\"", {"did you mean \"ignore\"?"});
  expect_complaint("metrics.absent = \"skip\"", {"\"drop\", \"one\", \"zero\""});
  expect_complaint("augment = [{name = \"HorizontalFilp\"}]",
                   {"augment[0] is the unknown transform 'HorizontalFilp'", ":3",
                    "did you mean \"HorizontalFlip\"?"});
  expect_complaint("augment = [{name = \"HorizontalFlip\", prob = 1}]",
                   {"augment[0] HorizontalFlip has no parameter 'prob'", "did you mean 'p'?"});
  expect_complaint("augment = [{name = \"HorizontalFlip\", p = 2}]",
                   {"augment[0] HorizontalFlip.p is 2", "from 0 to 1"});
  expect_complaint("augment = [{p = 1}]", {"without a name"});
  expect_complaint("augment = [1979-05-27]", {"'augment' holds a date"});
  expect_override_complaint("augment=[{name = \"Blur\", blur_limit = 99}]",
                            {"augment[0] Blur.blur_limit is 99", "'augment=["});
}

TEST(Config, TheListsOfTheDocumentationAreValid) {
  std::ifstream file(source_path("docs/augmentation.md"));
  int lists = 0;
  std::string block;
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    if (inside && line == "```") {
      const Config c = parse(kMinimal + block);
      EXPECT_FALSE(c.augment.empty());
      EXPECT_EQ(parse_config(to_toml(c), "/elsewhere/config.toml").augment, c.augment);
      ++lists;
      inside = false;
    } else if (line == "```toml") {
      inside = true;
      block.clear();
    } else if (inside) {
      block += line + "\n";
    }
  }
  EXPECT_EQ(lists, 3);
}

TEST(Config, EveryTransformComesBackTheSame) {
  const Config c = parse(kMinimal + R"(augment = [
    {name = "RandomScale"}, {name = "RandomCrop"}, {name = "HorizontalFlip"},
    {name = "ShiftScaleRotate", shift_limit_x = 0.2}, {name = "GridDistortion"},
    {name = "OpticalDistortion", border_mode = "constant", value = 7},
    {name = "ElasticTransform", same_dxdy = true}, {name = "Blur"}, {name = "GaussNoise"},
    {name = "RGBShift"}, {name = "RandomBrightness"}, {name = "RandomContrast"},
    {name = "RandomBrightnessContrast"}, {name = "RandomGamma"}, {name = "ColorJitter"},
    {name = "HueSaturationValue"}, {name = "CLAHE"}, {name = "RandomShadow"},
    {name = "OneOf", transforms = [
      {name = "CoarseDropout"},
      {name = "CoarseDropout", max_height = 0.25, max_width = 0.125, mask_fill_value = 255}]},
    {name = "Compose", transforms = [{name = "RandomContrast", limit = 0.1234567890123}]}])");
  ASSERT_EQ(c.augment.size(), 20u);
  const std::string resolved = to_toml(c);
  const Config again = parse_config(resolved, "/elsewhere/config.toml");
  EXPECT_EQ(again.augment, c.augment);
  EXPECT_EQ(to_toml(again), resolved);
}

TEST(Config, KeysWithoutEffectAreRefused) {
  expect_complaint("momentum = 0.9", {"'momentum' has no effect", "sgd", ":3"});
  expect_complaint("optimizer = \"sgd\"\nbetas = [0.9, 0.99]", {"'betas' has no effect"});
  expect_complaint("loss = \"ce\"\ndice_smooth = 1", {"'dice_smooth' has no effect"});
  expect_complaint("focal_gamma = 1", {"'focal_gamma' has no effect", "focal in the loss"});
  expect_complaint("loss = \"jaccard\"\nclass_weights = [1, 2]",
                   {"'class_weights' has no effect", "ce or focal", " in the loss"});
  expect_complaint("loss = \"focal\"\ndice_absent = \"zero\"",
                   {"'dice_absent' has no effect", "dice or jaccard", " in the loss"});
  expect_complaint("loss = \"dice\"\nlabel_smoothing = 0.1", {"'label_smoothing'"});
  expect_complaint("schedule = \"constant\"\nmin_lr = 0.0001", {"'min_lr' has no effect"});
  expect_complaint("teacher_weight = 1", {"'teacher_weight' has no effect", "a teacher"});
  expect_override_complaint("momentum=0.8", {"'momentum' has no effect", "'momentum=0.8'"});
}

TEST(Config, AnOverrideMayMakeKeysOfTheFileIneffective) {
  const Config c = parse(kEverything, {"optimizer=adamw", "loss=dice", "schedule=constant"});
  EXPECT_EQ(c.optimizer.kind, OptimizerKind::adamw);
  const std::string resolved = to_toml(c);
  EXPECT_EQ(resolved.find("momentum"), std::string::npos);
  EXPECT_EQ(resolved.find("class_weights"), std::string::npos);
  EXPECT_EQ(to_toml(parse(resolved)), resolved);
  const std::string message = complaint(kEverything, {"optimizer=adamw", "momentum=0.5"});
  EXPECT_NE(message.find("'momentum' has no effect"), std::string::npos) << message;
}

TEST(Config, MissingKeysAreNamed) {
  EXPECT_NE(complaint("dataset = \"d\"").find("'network' is missing"), std::string::npos);
  EXPECT_NE(complaint("network = \"n\"").find("'dataset' is missing"), std::string::npos);
  EXPECT_NE(complaint("network = \"n\"\ndataset = {train = \"t\"}").find("lacks train or val"),
            std::string::npos);
}

TEST(Config, SyntaxErrorsNameTheLine) {
  expect_complaint("batch = = 3", {"not valid TOML", "first.toml:3"});
  expect_complaint("batch = 1\nbatch = 2", {"first.toml:4"});
  expect_complaint("[network]\ndropout = 1", {"not valid TOML", "network = {name ="});
  expect_complaint("network.dropout = 1", {"not valid TOML", "network = {name ="});
  expect_complaint("x = \"" + std::string(2000, '[') + "\"", {"unknown key 'x'"});
  expect_complaint("x = " + std::string(20'000, '['), {"not valid TOML"});
  expect_complaint("x = \"\xff\"", {"not valid TOML"});
}

TEST(Config, BrokenOverridesAreNamed) {
  expect_override_complaint("batch", {"not an override", "'batch'", "key=value"});
  expect_override_complaint("=3", {"not an override"});
  expect_override_complaint("loader..threads=3", {"not an override"});
  expect_override_complaint("size=[1, 2", {"not a TOML value", "'size=[1, 2'"});
  expect_override_complaint("batch=1\nepochs=2", {"not a TOML value"});
}

TEST(Config, ScheduleCountsWarmUpInEpochs) {
  const Config c = parse(kMinimal + "epochs = 10\nwarmup = 0.5\nlr = 0.5\nmin_lr = 0.25\n");
  const Schedule s = schedule_of(c, 100);
  EXPECT_EQ(s.warmup_steps, 50);
  EXPECT_EQ(s.total_steps, 1000);
  EXPECT_EQ(s.lr, 0.5);
  EXPECT_EQ(s.min_lr, 0.25);
}
