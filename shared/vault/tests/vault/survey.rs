//! What the vault knows without a catalog is what the writers were told.

use vault::ChainLink;

use crate::world::{World, back_up, header, names, table, write};

#[tokio::test]
async fn every_chain_is_found_and_every_link_with_what_its_writer_was_told() {
    let world = World::new();
    let mut written = Vec::new();
    for point in 1..=3 {
        let parent = written.last().map(|(names, link): &(crate::world::Names, ChainLink)| names.parent(&link.reference));
        let names = names(1, point, point);
        let made = back_up(&world.vault, names, parent.as_ref()).await.unwrap();
        let reader = world.open(names, &made.point).await.unwrap();
        assert_eq!((reader.rows(), reader.plaintext_bytes().await.unwrap()), (made.rows, made.plaintext_bytes));
        written.push((names, ChainLink { reference: made.point, point: names.point, own_bytes: made.stored_bytes }));
    }
    world.back_up(names(2, 9, 9)).await.unwrap();
    let tenants = [1, 2].map(|tenant| names(tenant, 0, 0).tenant);
    assert_eq!(world.vault.tenants(None).await.unwrap(), tenants);
    assert_eq!(world.vault.tenants(Some(tenants[0])).await.unwrap(), tenants[1..]);
    let (links, report) = world.vault.chain_links(tenants[0], 3).await.unwrap();
    assert_eq!(links, written.into_iter().map(|(_, link)| link).collect::<Vec<_>>());
    assert!(report.is_clean() && report.links == 3);
}

#[tokio::test]
async fn what_was_planted_is_named_and_hides_no_link() {
    let world = World::new();
    for point in 1..=3 {
        world.back_up(names(1, point, point)).await.unwrap();
    }
    let tenant = names(1, 0, 0).tenant;
    let planted = format!("v1/t/{tenant}/chain/000000000004");
    world.store.overwrite(&planted, "{\"format\":\"HF1 link\"}\nAAAA\n");
    world.store.overwrite("v1/t/acme/chain/000000000001", "nobody's");
    assert_eq!(world.vault.tenants(None).await.unwrap(), [tenant], "a folder by another name is no tenant's");
    let (links, report) = world.vault.chain_links(tenant, 0).await.unwrap();
    assert_eq!(links.iter().map(|link| link.reference.sequence).collect::<Vec<_>>(), [1, 2, 3]);
    let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    assert!(findings.len() == 1 && findings[0].contains(&planted) && findings[0].contains("signature"), "{findings:?}");
}

#[tokio::test]
async fn plaintext_is_counted_over_many_chunks_and_documents() {
    let world = World::new();
    let names = names(1, 1, 1);
    let writer = world.begin(names).await;
    write(&writer, header("people"), &table(0..4_000, 700, 1)).await.unwrap();
    writer.blob("pre-data", &[7; 3_000]).await.unwrap();
    let made = crate::world::finish(writer).await;
    assert!(made.chunks > 4);
    assert_eq!(world.open(names, &made.point).await.unwrap().plaintext_bytes().await.unwrap(), made.plaintext_bytes);
}
