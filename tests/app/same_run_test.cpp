// Resuming is the same run or an error, and one process at a time trains in a folder.

#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include "engine/model/model_file.h"
#include "image/image.h"
#include "shared_folder.h"
#include "tests/engine/cpu_dtypes.h"

namespace macadam {
namespace {

namespace fs = std::filesystem;

constexpr const char* kAugment = R"(augment = [
  {name = "HorizontalFlip"},
  {name = "RandomGamma"},
  {name = "Blur", p = 0.1},
]
)";

/// A trained run of two epochs, made once; tests work on copies of its folder.
class SameRun : public SharedFolder<SameRun> {
 protected:
  static void SetUpTestSuite() {
    train_on_streets(folder(), 10, small_config(2, kAugment), {"name=begun"});
    write_text(folder() / "plain.toml", small_config(2));
  }
  static fs::path run(const std::string& name) { return folder() / "runs" / name; }
  static void copy_run(const std::string& name) {
    fs::copy(run("begun"), run(name), fs::copy_options::recursive);
  }
  static size_t epochs_of(const std::string& name) {
    return lines_of(read_text(run(name) / "results.csv")).size() - 1;
  }

  static ProgramResult train(std::vector<std::string> words) {
    words.insert(words.begin(), "train");
    return macadam(folder(), words);
  }
  static ProgramResult resume(const std::string& name, std::vector<std::string> words = {}) {
    words.insert(words.begin(), {"run.toml", "name=" + name, "--resume"});
    return train(words);
  }

  /// A plain data set of stripes: class 0 to the left, class 1 to the right.
  static void make_plain(const std::string& name, const std::vector<std::string>& train,
                         const std::vector<std::string>& val, const std::string& classes) {
    Image photo(32, 64, 3), mask(32, 64, 1);
    for (int x = 0; x < 64; ++x) {
      for (int y = 0; y < 32; ++y) {
        *mask.at(y, x) = x < 32 ? 0 : 1;
        *photo.at(y, x) = static_cast<uint8_t>(4 * x);
      }
    }
    const auto write = [&](const std::string& split, const std::string& sample) {
      for (const auto& [part, image] : {std::pair("images", &photo), std::pair("masks", &mask)}) {
        const fs::path file = folder() / name / part / split / (sample + ".png");
        fs::create_directories(file.parent_path());
        write_png(file, *image);
      }
    };
    for (const std::string& sample : train) write("train", sample);
    for (const std::string& sample : val) write("val", sample);
    write_text(folder() / name / "dataset.toml", classes);
  }
};

constexpr const char* kTwoClasses = "[[classes]]\nname = \"left\"\n[[classes]]\nname = \"right\"\n";

TEST_F(SameRun, AnotherEntryOfAListIsNamed) {
  copy_run("list");
  const std::string before = read_text(run("list") / "config.toml");
  const auto augment = [&](const std::string& list) {
    return resume("list", {"epochs=3", "augment=[" + list + "]"});
  };
  const std::string gamma = R"({name = "RandomGamma"})", blur = R"({name = "Blur", p = 0.1})";
  const std::string flip = R"({name = "HorizontalFlip"})";
  expect_input_error(augment(R"({name = "HorizontalFlip", p = 0}, )" + gamma + ", " + blur),
                     {"'augment[0].p' is 0", "begun with 0.5"});
  expect_input_error(augment(flip + R"(, {name = "GaussNoise"}, )" + blur),
                     {"'augment[1]' is \"GaussNoise\"", "begun with \"RandomGamma\""});
  expect_input_error(augment(flip + ", " + gamma), {"'augment' is a list of 2", "one of 3"});
  EXPECT_EQ(read_text(run("list") / "config.toml"), before) << "what was refused left a trace";
  expect_success(augment(flip + ", " + gamma + ", " + blur));
  EXPECT_EQ(epochs_of("list"), 3u);
}

TEST_F(SameRun, AShortRunCanBeProlonged) {
  copy_run("short");
  expect_success(resume("short", {"epochs=3"}));
  expect_success(resume("short", {"epochs=4"}));
  EXPECT_EQ(epochs_of("short"), 4u);
  EXPECT_NE(read_text(run("short") / "config.toml").find("\nwarmup = 0.2\n"), std::string::npos)
      << "the warm-up is that of the beginning";
  expect_input_error(resume("short", {"epochs=4", "warmup=0.4"}),
                     {"'warmup' is 0.4", "begun with 0.2"});
  expect_success(resume("short", {"epochs=4", "warmup=0.2"}));
}

TEST_F(SameRun, ThePrecisionIsThatOfTheBeginning) {
  if (!cpu_has_bf16()) GTEST_SKIP() << "fp32 alone on this processor";
  const auto info = [](const std::string& name) {
    return load_model(run(name) / "last.safetensors").info.precision;
  };
  expect_success(train({"plain.toml", "name=auto", "epochs=1", "precision=auto"}));
  const std::string here = info("auto"), other = here == "fp32" ? "bf16" : "fp32";
  expect_success(train({"plain.toml", "name=other", "epochs=1", "precision=" + other}));
  const auto go_on = [](const std::string& name, const std::string& precision) {
    return train({"plain.toml", "name=" + name, "precision=" + precision, "epochs=2", "--resume"});
  };
  expect_input_error(go_on("other", "auto"),
                     {"is " + here, "begun in '" + other + "'", "precision='" + other + "'"});
  expect_input_error(go_on("auto", other), {"is " + other, "begun in '" + here + "'"});
  expect_success(go_on("auto", here));
  EXPECT_EQ(info("auto"), here);
}

TEST_F(SameRun, ADataSetIsTheSameUnderItsOtherNames) {
  copy_run("names");
  expect_success(resume("names", {"dataset=streets/"}));
  expect_success(resume("names", {"dataset=./runs/..//streets"}));
  fs::create_directory_symlink("streets", folder() / "link");
  expect_success(resume("names", {"dataset=link"}));
}

TEST_F(SameRun, AMovedDataSetIsTakenOnRequest) {
  fs::copy(folder() / "streets", folder() / "old", fs::copy_options::recursive);
  expect_success(train({"run.toml", "name=moved", "dataset=old"}));
  fs::rename(folder() / "old", folder() / "new");
  expect_input_error(
      resume("moved", {"dataset=new", "epochs=3"}),
      {(folder() / "new").string(), (folder() / "old").string(),
       "8 training and 2 validation samples of the same names lie there", "--dataset-moved"});
  expect_success(resume("moved", {"dataset=new", "epochs=3", "--dataset-moved"}));
  expect_success(resume("moved", {"dataset=new", "epochs=3"}));  // the run knows by now
  EXPECT_EQ(epochs_of("moved"), 3u);

  const fs::path place = folder() / "new/leftImg8bit/val/maybole";
  fs::rename(place, folder() / "new/leftImg8bit/val/girvan");
  fs::rename(folder() / "new/gtFine/val/maybole", folder() / "new/gtFine/val/girvan");
  for (const auto& entry : fs::recursive_directory_iterator(folder() / "new")) {
    std::string name = entry.path().filename().string();
    if (!entry.is_regular_file() || !name.starts_with("maybole")) continue;
    fs::rename(entry.path(), entry.path().parent_path() / ("girvan" + name.substr(7)));
  }
  expect_input_error(resume("moved", {"dataset=new", "epochs=3"}),
                     {"2 validation samples of other names", "begun with"});
  fs::rename(folder() / "new", folder() / "third");
  expect_input_error(resume("moved", {"dataset=third", "epochs=3", "--dataset-moved"}),
                     {"third", "2 validation samples of other names"});
  expect_input_error(train({"run.toml", "name=x", "--dataset-moved"}), {"--resume"});
}

TEST_F(SameRun, ClassesStayInTheirOrderAndKeepTheirIds) {
  make_plain("sides", {"a", "b", "c", "d"}, {"e", "f"}, kTwoClasses);
  const std::vector<std::string> words{"plain.toml", "name=sides", "dataset=sides",
                                       "label_set=custom"};
  expect_success(train(words));
  const auto go_on = [&] {
    std::vector<std::string> more = words;
    more.insert(more.end(), {"epochs=3", "--resume"});
    return train(more);
  };
  const auto classes = [](const std::string& text) {
    write_text(folder() / "sides/dataset.toml", text);
  };
  const std::string checkpoint = read_text(run("sides") / "last.safetensors");
  const fs::path data = run("sides") / "data.json";
  const std::string saved = read_text(data);
  for (const bool old_version : {false, true}) {  // which wrote no such file
    if (old_version) fs::remove(data);
    classes("[[classes]]\nname = \"right\"\n[[classes]]\nname = \"left\"\n");
    expect_input_error(go_on(), {"class 0 is 'right'", "begun with 'left'"});
  }
  write_text(data, saved);
  classes("[[classes]]\nname = \"left\"\nids = [1]\n[[classes]]\nname = \"right\"\nids = [0]\n");
  expect_input_error(go_on(), {"class 0 is 'left' (ids 1)", "begun with 'left' (ids 0)"});
  classes(std::string(kTwoClasses) + "ids = [1, 2]\n");
  expect_input_error(go_on(), {"class 1 is 'right' (ids 1, 2)"});
  classes(std::string(kTwoClasses) + "[[classes]]\nname = \"top\"\n");
  expect_input_error(go_on(), {"3 classes", "begun with 2"});
  EXPECT_EQ(read_text(run("sides") / "last.safetensors"), checkpoint);
  classes(kTwoClasses);
  expect_success(go_on());
}

TEST_F(SameRun, APretrainedFileIsNeededOnlyOnce) {
  fs::copy_file(run("begun") / "best.safetensors", folder() / "start.safetensors");
  expect_success(train({"run.toml", "name=tuned", "weights=start.safetensors"}));
  fs::remove(folder() / "start.safetensors");
  expect_success(resume("tuned", {"epochs=3", "weights=start.safetensors"}));
  expect_success(resume("tuned", {"epochs=4"}));
  EXPECT_EQ(epochs_of("tuned"), 4u);
  expect_input_error(resume("tuned", {"weights=other.safetensors"}),
                     {"'weights' is", "other.safetensors", "begun with", "start.safetensors"});
}

TEST_F(SameRun, AfterANaNTheAdviceWorks) {
  const auto train_with = [](std::vector<std::string> more) {
    more.insert(more.begin(), {"run.toml", "optimizer=sgd", "schedule=constant"});
    return train(more);
  };
  // In the first epoch, before a checkpoint and after one.
  const ProgramResult first = train_with({"name=nan", "lr=100", "warmup=0"});
  expect_error(first, 1, {"lower lr", "train again"});
  EXPECT_NE(first.err.find("\nback to step 0 with half the learning rate (recovery 1 of 2)\n"),
            std::string::npos)
      << first.err;
  EXPECT_EQ(first.err.find("lower lr"), first.err.rfind("lower lr"))
      << "a remedy where the run went on: " << first.err;
  expect_success(train_with({"name=nan", "lr=0.01", "epochs=1"}));
  expect_error(train_with({"name=nan1", "lr=100", "warmup=0", "checkpoint_seconds=0.001"}), 1,
               {"lower lr", "train under another name"});
  expect_success(train_with({"name=nan2", "lr=0.01", "epochs=1"}));

  // Later, by a learning rate that rises for too long.
  const ProgramResult failed = train_with({"name=nan3", "lr=100", "warmup=200", "epochs=200"});
  expect_error(failed, 1, {"lower lr", "train under another name", "weights="});
  const std::string weights = failed.err.substr(failed.err.rfind("weights="));
  expect_success(
      train_with({"name=nan4", "lr=0.01", "epochs=1", weights.substr(0, weights.find('\n'))}));
}

TEST_F(SameRun, ACopiedFolderIsARunOfItsOwn) {
  copy_run("copy");
  const std::string original = read_text(run("begun") / "last.safetensors");
  expect_success(train({"runs/copy/config.toml", "epochs=3", "--resume"}));
  EXPECT_EQ(epochs_of("copy"), 3u);
  EXPECT_EQ(epochs_of("begun"), 2u);
  EXPECT_EQ(read_text(run("begun") / "last.safetensors"), original);
  fs::rename(run("copy"), folder() / "elsewhere");
  expect_success(train({"elsewhere/config.toml", "epochs=4", "--resume"}));
  EXPECT_EQ(lines_of(read_text(folder() / "elsewhere/results.csv")).size(), 5u);
}

TEST_F(SameRun, OneProcessAtATimeTrainsInAFolder) {
  const std::vector<std::string> words{"train", "run.toml", "name=held", "epochs=10000",
                                       "checkpoint_seconds=0.001"};
  Program first(folder(), words);
  while (first.running() && !fs::exists(run("held") / "last.safetensors")) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  const std::string pid = "process " + std::to_string(first.pid());
  const std::string config = read_text(run("held") / "config.toml");
  std::vector<std::string> resumed = words;
  resumed.push_back("--resume");
  expect_input_error(macadam(folder(), words), {pid, "trains in this folder"});
  expect_input_error(macadam(folder(), resumed), {pid, "trains in this folder"});
  EXPECT_EQ(read_text(run("held") / "config.toml"), config);
  EXPECT_TRUE(first.running());

  first.send(SIGKILL);
  EXPECT_EQ(first.wait().exit_code, 128 + SIGKILL);
  EXPECT_TRUE(fs::exists(run("held") / ".lock")) << "a stale one";
  // A killed process may leave this; what only looks like it stays.
  write_text(run("held") / ".macadam-0123456789abcdef-0.tmp", "half");
  write_text(run("held") / "mine.tmp", "whole");
  resumed.push_back("epochs=1");
  expect_success(macadam(folder(), resumed));
  EXPECT_FALSE(fs::exists(run("held") / ".macadam-0123456789abcdef-0.tmp"));
  EXPECT_TRUE(fs::exists(run("held") / "mine.tmp"));
}

TEST_F(SameRun, ADamagedCheckpointIsNamed) {
  copy_run("damaged");
  const fs::path file = run("damaged") / "last.safetensors";
  const Model model = load_model(file, ModelPart::everything);
  const auto go_on_with = [&](const ModelInfo& info) {
    std::map<std::string, ModelTensorView> parameters, optimizer;
    for (const auto& [name, t] : model.parameters) parameters[name] = {t.shape, t.values};
    for (const auto& [name, t] : model.optimizer) optimizer[name] = {t.shape, t.values};
    save_model(file, info, parameters, optimizer);
    return resume("damaged", {"epochs=3"});
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const auto& [key, value] :
       std::initializer_list<std::pair<std::string, double>>{{"batch", -1},
                                                             {"batch", nan},
                                                             {"batch", 1e300},
                                                             {"batch", 0.5},
                                                             {"batches", nan},
                                                             {"loss_sum", nan},
                                                             {"best_epoch", 3},
                                                             {"best_epoch", 0},
                                                             {"best_score", 1e9}}) {
    ModelInfo info = model.info;
    info.progress[key] = value;
    expect_input_error(go_on_with(info), {file.string()});
  }
  ModelInfo info = model.info;
  info.epoch = 1;
  expect_input_error(go_on_with(info), {"steps are not those of 1 epochs", file.string()});
  info = model.info;
  info.progress.erase("batch");
  expect_input_error(go_on_with(info), {"lacks 'batch'", file.string()});

  fs::remove(run("damaged") / "best.safetensors");
  expect_input_error(go_on_with(model.info), {"best.safetensors"});
  fs::copy_file(run("begun") / "best.safetensors", run("damaged") / "best.safetensors");
  std::ofstream(run("damaged") / "log.jsonl", std::ios::app)
      << "{\"event\": \"step\", \"step\": \"seven\"}\n{\"event\": 3, \"epoch\": []}\n{\"eve";
  std::ofstream(run("damaged") / "results.csv", std::ios::app) << "1,2,";
  expect_success(go_on_with(model.info));
  EXPECT_EQ(epochs_of("damaged"), 3u);
  write_text(run("damaged") / "data.json", "{\"train\": 3}");
  expect_input_error(go_on_with(model.info), {"data.json"});
}

TEST_F(SameRun, LongNamesAndFoldersOfPhotosAreNoObstacle) {
  const std::string longest(245, 'n');
  make_plain("long", {"a", "b"}, {longest, "spring/" + longest, "spring_x", "spring/x"},
             kTwoClasses);
  write_text(folder() / "long.toml", small_config(1, "label_set = \"custom\"\n"));
  expect_success(train({"long.toml", "name=long", "dataset=long", "batch=1"}));
  size_t pictures = 0;
  for (const auto& entry : fs::directory_iterator(run("long") / "samples")) {
    pictures += entry.path().extension() == ".png";
  }
  EXPECT_EQ(pictures, 4u);
}

TEST_F(SameRun, TheHintToContinueIsWrittenForTheShell) {
  write_text(folder() / "it's a run.toml", small_config(10000, kAugment));
  Program program(folder(), {"train", "it's a run.toml", "name=$HOME `x`", "loss=ce + dice",
                             "checkpoint_seconds=0.001"});
  while (program.running() && !fs::exists(run("$HOME `x`") / "last.safetensors")) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  program.send(SIGINT);
  const ProgramResult result = program.wait();
  EXPECT_EQ(result.exit_code, 130) << result.err;
  EXPECT_NE(result.err.find("continue with: macadam train 'it'\\''s a run.toml' 'name=$HOME `x`' "
                            "'loss=ce + dice' checkpoint_seconds=0.001 --resume\n"),
            std::string::npos)
      << result.err;
}

TEST_F(SameRun, AnInterruptedSynthIsNotTakenForAWholeOne) {
  Program program(folder(), {"synth", "half", "--images", "100000", "--size", "64x32"});
  while (program.running() && !fs::exists(folder() / "half/leftImg8bit/train")) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  program.send(SIGKILL);
  EXPECT_EQ(program.wait().exit_code, 128 + SIGKILL);
  EXPECT_FALSE(fs::exists(folder() / "half/streets.toml")) << "the quickstart would skip it";
  const ProgramResult again =
      macadam(folder(), {"synth", "half", "--images", "2", "--size", "64x32"});
  expect_success(again);
  EXPECT_TRUE(fs::exists(folder() / "half/streets.toml"));
}

}  // namespace
}  // namespace macadam
