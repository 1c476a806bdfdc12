// Package volumes makes the cluster's volumes: folders below one folder of the machine that all nodes share, as if there were
// network storage. They are volumes of the kind "local", because kubelet gives the folder of such a volume to the pod's fsGroup,
// which it does not do for "hostPath"; that they are on every node is said by their affinity. A claim that asks for
// more gets more; there is no quota, so nothing has to be done for it.
package volumes

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

// The name that a StorageClass calls us by.
const Provisioner = "majordomo.test/folders"

// What is tried again when no event comes: a refused write, a folder that could not be made.
const retry = 2 * time.Second

type maker struct {
	client  kubernetes.Interface
	root    string
	claims  corelisters.PersistentVolumeClaimLister
	volumes corelisters.PersistentVolumeLister
	classes storagelisters.StorageClassLister
}

// Main runs until the process is killed.
func Main() error {
	config := flag.String("kubeconfig", "", "how to reach the API server")
	root := flag.String("root", "", "the folder that holds the volumes' folders")
	flag.Parse()
	if *config == "" || *root == "" {
		return fmt.Errorf("both --kubeconfig and --root are needed")
	}
	rest, err := clientcmd.BuildConfigFromFlags("", *config)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(rest)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	claims, volumes := factory.Core().V1().PersistentVolumeClaims(), factory.Core().V1().PersistentVolumes()
	classes := factory.Storage().V1().StorageClasses()
	changed, err := hints(claims.Informer(), volumes.Informer(), classes.Informer())
	if err != nil {
		return err
	}
	m := maker{client, *root, claims.Lister(), volumes.Lister(), classes.Lister()}
	factory.Start(nil)
	factory.WaitForCacheSync(nil)
	for {
		if err := m.look(); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-time.After(retry):
		}
	}
}

// Tells that something has changed. One hint may stand for many changes: who gets it looks at everything.
func hints(all ...cache.SharedIndexInformer) (<-chan struct{}, error) {
	changed := make(chan struct{}, 1)
	hint := func(any) {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	handler := cache.ResourceEventHandlerFuncs{AddFunc: hint, UpdateFunc: func(_, n any) { hint(n) }, DeleteFunc: hint}
	for _, informer := range all {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return nil, err
		}
	}
	return changed, nil
}

// Does what is to be done for each claim and each volume.
func (m maker) look() error {
	claims, err := m.claims.List(labels.Everything())
	if err != nil {
		return err
	}
	for _, claim := range claims {
		if claim.Annotations["volume.kubernetes.io/storage-provisioner"] != Provisioner || claim.Spec.StorageClassName == nil {
			continue
		}
		class, err := m.classes.Get(*claim.Spec.StorageClassName)
		if err != nil {
			continue // it may come yet
		}
		policy := core.PersistentVolumeReclaimDelete
		if class.ReclaimPolicy != nil {
			policy = *class.ReclaimPolicy
		}
		volume, err := m.volumes.Get(name(claim))
		if err != nil {
			volume = nil
		}
		report(m.serve(claim, volume, policy))
	}
	volumes, err := m.volumes.List(labels.Everything())
	if err != nil {
		return err
	}
	for _, volume := range volumes {
		report(m.drop(volume))
	}
	return nil
}

// Others change the same objects: what is refused is tried again with what is there then.
func report(err error) {
	if err != nil && !errors.IsAlreadyExists(err) && !errors.IsConflict(err) && !errors.IsNotFound(err) {
		log.Print(err)
	}
}

func name(claim *core.PersistentVolumeClaim) string { return "pvc-" + string(claim.UID) }

// Makes the volume of a claim that has none, or lets it grow.
func (m maker) serve(claim *core.PersistentVolumeClaim, volume *core.PersistentVolume, policy core.PersistentVolumeReclaimPolicy) error {
	if claim.DeletionTimestamp != nil {
		return nil
	}
	if volume == nil && claim.Status.Phase == core.ClaimPending {
		return m.create(claim, policy)
	}
	wanted := claim.Spec.Resources.Requests[core.ResourceStorage]
	if volume == nil || claim.Status.Phase != core.ClaimBound || wanted.Cmp(claim.Status.Capacity[core.ResourceStorage]) <= 0 {
		return nil
	}
	if wanted.Cmp(volume.Spec.Capacity[core.ResourceStorage]) > 0 {
		volume = volume.DeepCopy()
		volume.Spec.Capacity[core.ResourceStorage] = wanted
		if _, err := m.client.CoreV1().PersistentVolumes().Update(context.Background(), volume, meta.UpdateOptions{}); err != nil {
			return err
		}
	}
	claim = claim.DeepCopy()
	claim.Status.Capacity[core.ResourceStorage] = wanted
	_, err := m.client.CoreV1().PersistentVolumeClaims(claim.Namespace).UpdateStatus(context.Background(), claim, meta.UpdateOptions{})
	return err
}

func (m maker) create(claim *core.PersistentVolumeClaim, policy core.PersistentVolumeReclaimPolicy) error {
	folder := filepath.Join(m.root, name(claim))
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	mode := core.PersistentVolumeFilesystem
	everywhere := core.NodeSelectorTerm{MatchExpressions: []core.NodeSelectorRequirement{
		{Key: "kubernetes.io/os", Operator: core.NodeSelectorOpIn, Values: []string{"linux"}}}}
	volume := &core.PersistentVolume{
		ObjectMeta: meta.ObjectMeta{Name: name(claim), Annotations: map[string]string{"pv.kubernetes.io/provisioned-by": Provisioner}},
		Spec: core.PersistentVolumeSpec{
			Capacity:                      core.ResourceList{core.ResourceStorage: claim.Spec.Resources.Requests[core.ResourceStorage]},
			AccessModes:                   claim.Spec.AccessModes,
			PersistentVolumeReclaimPolicy: policy,
			StorageClassName:              *claim.Spec.StorageClassName,
			VolumeMode:                    &mode,
			PersistentVolumeSource:        core.PersistentVolumeSource{Local: &core.LocalVolumeSource{Path: folder}},
			NodeAffinity:                  &core.VolumeNodeAffinity{Required: &core.NodeSelector{NodeSelectorTerms: []core.NodeSelectorTerm{everywhere}}},
			ClaimRef: &core.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID},
		},
	}
	_, err := m.client.CoreV1().PersistentVolumes().Create(context.Background(), volume, meta.CreateOptions{})
	return err
}

// Deletes a volume of ours whose claim is gone, with its folder.
func (m maker) drop(volume *core.PersistentVolume) error {
	ours := volume.Annotations["pv.kubernetes.io/provisioned-by"] == Provisioner
	unwanted := volume.Status.Phase == core.VolumeReleased && volume.Spec.PersistentVolumeReclaimPolicy == core.PersistentVolumeReclaimDelete
	if !ours || !unwanted || volume.DeletionTimestamp != nil {
		return nil
	}
	if err := os.RemoveAll(filepath.Join(m.root, volume.Name)); err != nil {
		return err
	}
	return m.client.CoreV1().PersistentVolumes().Delete(context.Background(), volume.Name, meta.DeleteOptions{})
}
