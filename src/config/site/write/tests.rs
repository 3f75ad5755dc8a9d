use proptest::prelude::*;

use super::*;
use crate::cli::demo::store::STORE;
use crate::config::load_bundled_site_with_plans;
use crate::config::plan_image::PlanImage;
use crate::config::site::fixture::{any_registry, rounded};
use crate::config::site::{Plans, read_site_texts};
use crate::registry::{Edit, PlanFormat};

fn read(registry: &Registry, plans: &Plans) -> Registry {
    let named = registry.site().levels.iter().filter_map(|level| Some((level.plan.as_ref()?, level.ordinal)));
    let pictures = named.map(|(plan, ordinal)| (plan.file.clone(), plans[&ordinal].bytes.clone())).collect();
    let texts = site_texts(registry);
    match read_site_texts(texts.clone(), pictures) {
        Ok((back, read, _)) => {
            assert_eq!(read, *plans);
            back
        }
        Err(faults) => panic!("{faults}\n{texts:#?}"),
    }
}

/// A registry whose plans have pictures; the picture of each is the one that there is.
fn with_pictures(registry: &Registry) -> (Registry, Plans) {
    let text = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 40 25\"><g/></svg>";
    let image = PlanImage::read(text.as_bytes().to_vec()).unwrap();
    let mut edit = Edit::default();
    let mut plans = Plans::new();
    for level in &registry.site().levels {
        let Some(plan) = &level.plan else { continue };
        let plan = FloorPlan { media_type: PlanFormat::Svg, width: 40, height: 25, ..plan.clone() };
        plans.insert(level.ordinal, image.clone());
        edit.put.push(Record::Level(Level { plan: Some(plan), ..level.clone() }));
    }
    (registry.edited(&edit).unwrap(), plans)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read_back_as_the_same_registry_in_the_same_order(registry in any_registry()) {
        let (registry, plans) = with_pictures(&rounded(&registry));
        let back = read(&registry, &plans);
        prop_assert!(registry.difference(&back).is_empty(), "{:#?}", registry.difference(&back));
        prop_assert_eq!(back.site(), registry.site());
        prop_assert_eq!(back.receivers(), registry.receivers());
        prop_assert_eq!(back.zones(), registry.zones());
        prop_assert_eq!(back.beacons(), registry.beacons());
        prop_assert_eq!(back.devices(), registry.devices());
        prop_assert_eq!(back.rules(), registry.rules());
        prop_assert_eq!(site_texts(&back), site_texts(&registry));
    }
}

#[test]
fn files_are_for_people_to_read() {
    let (registry, _, _) = load_bundled_site_with_plans(&STORE).unwrap();
    let texts = site_texts(&registry);
    assert!(texts["site.toml"].starts_with("id = \"market-hall\"\nname = \"Market Hall\"\n"), "{}", texts["site.toml"]);
    assert!(texts["site.toml"].contains(
        "\n[[level]]\nordinal = 0\nname = \"Ground floor\"\nelevation = 0.0\n\
         outline = [[0.0, 0.0], [40.0, 0.0], [40.0, 25.0], [0.0, 25.0]]\n\
         plan = { file = \"floor-0.svg\", x = -0.5, y = 25.5, metres_per_pixel = 1.0, bearing = 0.0 }\n"
    ));
    assert!(texts["zones.geojson"].starts_with(
        "{\n\"type\": \"FeatureCollection\",\n\"features\": [\n{\n  \"type\": \"Feature\",\n  \"properties\": {\"id\": \"entrance\", \
         \"name\": \"Entrance\", \"level\": 0, \"labels\": {\"department\": \"front\", \"role\": \"entrance\"}, "
    ));
    assert!(texts["zones.geojson"].contains(
        "\"geometry\": {\"type\": \"Polygon\", \"coordinates\": [[[4.47041072, 51.91310449], [4.47057058, 51.91310449], "
    ));
    assert_eq!(texts["beacons.csv"], STORE.beacons);
    let start = "id,consent,labels,kind\nshopper-01,marketing;presence,language=fr;tier=gold,customer\n";
    assert!(texts["devices.csv"].starts_with(start));
    assert!(!texts.contains_key("calibration.json"));
}

#[test]
fn a_site_of_nothing_has_files_of_nothing() {
    let (registry, _, _) = load_bundled_site_with_plans(&STORE).unwrap();
    let empty = Registry::new(registry.site().clone(), vec![], vec![], vec![], vec![]).unwrap();
    let texts = site_texts(&empty);
    assert_eq!(texts["zones.geojson"], "{\n\"type\": \"FeatureCollection\",\n\"features\": []\n}\n");
    assert_eq!(texts["devices.csv"], "id,consent,labels,kind\n");
}
